% SPDX-FileCopyrightText: The Graft authors
% SPDX-License-Identifier: Apache-2.0
%
% core.erl - Erlang's JIT: processes on several schedulers, exceptions, binaries, code loaded anew while it runs
-module(core).
-export([main/0]).

fnv(H, V) -> ((H bxor V) * 16777619) band 16#ffffffff.

ints(0, H, _) -> H;
ints(N, H, X0) ->
    X = (X0 * 1103515245 + 12345) band 16#7fffffff,
    ints(N - 1, fnv(H, (X bsr (N band 15)) bxor (X rem 1000) bxor (X div 7)), X).

floats(0, S) -> S;
floats(N, S) -> floats(N - 1, S / 2 + math:sqrt(N) * 0.5 - trunc(S) / 3).

fact(0) -> 1;
fact(N) -> N * fact(N - 1).

risky(N) when N rem 7 =:= 0 -> throw({seven, N});
risky(N) when N rem 11 =:= 0 -> error(eleven);
risky(N) when N rem 13 =:= 0 -> hd([]);
risky(N) when N rem 17 =:= 0 -> N div (N - N);
risky(N) -> N.

caught(0, S) -> S;
caught(N, S) ->
    V = try risky(N) catch throw:{seven, M} -> M * 2; error:eleven -> 11; error:badarg -> 13; error:badarith -> 17 end,
    caught(N - 1, (S + V) band 16#ffffffff).

binaries(0, B) -> {byte_size(B), erlang:crc32(B), erlang:md5(B)};
binaries(N, B) ->
    <<X:5, Y:11, F:32/float, _/bits>> = <<(N * 7919):16, (N / 3):32/float, B/binary>>,
    C = << <<(A bxor X)>> || <<A>> <= binary:part(B, 0, min(50, byte_size(B))) >>,
    binaries(N - 1, <<C/binary, (Y + trunc(F)):24, N:16/little>>).

garbage(0, M) -> {maps:size(M), lists:sum([length(L) || L <- maps:values(M)])};
garbage(N, M) -> garbage(N - 1, maps:put(N rem 1000, lists:seq(1, N rem 30), M)).

ring(Parent, 0) -> Parent ! done;
ring(Parent, N) ->
    Next = spawn(fun() -> ring(Parent, N - 1) end),
    receive {token, T} -> Next ! {token, (T * 31 + N) band 16#ffffff} after 0 -> ok end.

echo(S) -> receive {From, N} -> From ! (S + N), echo((S + N) band 16#ffffff); stop -> ok end.

messages() ->
    Self = self(),
    Workers = [spawn(fun() -> echo(I) end) || I <- lists:seq(1, 8)],
    Clients = [spawn_monitor(fun() ->
        Self ! {sum, W, lists:foldl(fun(N, S) -> W2 = lists:nth(W, Workers), W2 ! {self(), N}, receive R -> (S + R) band 16#ffffff end end, 0, lists:seq(1, 3000))}
        end) || W <- lists:seq(1, 8)],
    Sums = [receive {sum, W, S} -> S end || W <- lists:seq(1, 8)],
    [receive {'DOWN', R, process, P, normal} -> ok end || {P, R} <- Clients],
    [W ! stop || W <- Workers],
    Sums.

% The same module compiled and loaded again and again, while a process of the old code goes on.
reload(0, S) -> S;
reload(N, S) ->
    {ok, T, _} = erl_scan:string(lists:flatten(io_lib:format("f(X) -> X * ~p + ~p. ", [N, N bxor 5]))),
    {ok, F} = erl_parse:parse_form(T),
    {ok, made, Bin} = compile:forms([{attribute, 1, module, made}, {attribute, 1, export, [{f, 1}]}, F]),
    code:purge(made),
    {module, made} = code:load_binary(made, "made", Bin),
    reload(N - 1, (S + lists:sum([made:f(X) || X <- lists:seq(1, 500)])) band 16#ffffffff).

counters() ->
    C = counters:new(1, [atomics]), A = atomics:new(1, []), T = ets:new(t, [public, {write_concurrency, true}]),
    ets:insert(T, {n, 0}),
    P = [spawn_monitor(fun() -> [begin counters:add(C, 1, 1), atomics:add(A, 1, K), ets:update_counter(T, n, 1) end || K <- lists:seq(1, 10000)] end) || _ <- lists:seq(1, 4)],
    [receive {'DOWN', R, process, Pid, normal} -> ok end || {Pid, R} <- P],
    {counters:get(C, 1), atomics:get(A, 1), ets:lookup(T, n)}.

main() ->
    io:format("emulator ~p~n", [erlang:system_info(emu_flavor)]),
    io:format("ints ~p~n", [ints(1000000, 1, 12345)]),
    io:format("floats ~p~n", [floats(1000000, 0.0)]),
    io:format("bignums ~p~n", [lists:sum([fact(N) rem 1000003 || N <- lists:seq(1, 400)])]),
    io:format("caught ~p~n", [caught(300000, 0)]),
    io:format("binaries ~p~n", [binaries(30000, <<"abc">>)]),
    io:format("garbage ~p~n", [garbage(100000, #{})]),
    Self = self(),
    spawn(fun() -> ring(Self, 3000) end),
    io:format("ring ~p~n", [receive done -> done end]),
    io:format("messages ~p~n", [messages()]),
    io:format("reload ~p~n", [reload(60, 0)]),
    io:format("counters ~p~n", [counters()]),
    halt().
