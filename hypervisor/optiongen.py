#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# Copyright The Graft Authors
"""Makes the manual pages and the completions of bash and zsh from the table of options.

usage: optiongen.py --options OPTIONS.DEF --mmu MMU.DEF --manuals FOLDER --version VERSION --out DIR

Writes graft.1, graft-COMMAND.1 of each command, graft.bash and _graft into DIR; FOLDER has the pages with .in behind their names. What the tables hold is said at their heads.
"""

import argparse
import collections
import os
import re
import sys

Command = collections.namedtuple('Command', 'name argument help')
Option = collections.namedtuple('Option', 'command name argument values take help manual')
Strategy = collections.namedtuple('Strategy', 'enumerator name help manual')

TOKEN = re.compile(r'\s*(?:/\*.*?\*/\s*)*("(?:[^"\\]|\\.)*"|\w+|[(),])', re.S)


def rows(path, kinds):
    """The rows of a table: one tuple of strings for each NAME(...), of the kind of that name."""
    with open(path, encoding='ascii') as f:
        text = re.sub(r'/\*.*?\*/', '', f.read(), flags=re.S)
    at = 0
    while text[at:].strip():
        found = re.compile(r'\s*(\w+)\(').match(text, at)
        if not found or found.group(1) not in kinds:
            sys.exit(f'{path}: no row: {text[at:at + 40].strip()!r}')
        kind, fields, at, end = kinds[found.group(1)], [''], found.end(), False
        while not end:
            token = TOKEN.match(text, at)
            if not token:
                sys.exit(f'{path}: not a row: {text[at:at + 40].strip()!r}')
            at, word = token.end(), token.group(1)
            end = word == ')'
            if word == ',':
                fields.append('')
            elif not end:  # strings side by side are one
                fields[-1] += re.sub(r'\\(.)', lambda m: {'n': '\n'}.get(m.group(1), m.group(1)), word[1:-1]) \
                    if word[0] == '"' else word
        if len(fields) != len(kind._fields):
            sys.exit(f'{path}: {found.group(1)}({fields[0]}, ...) has {len(fields)} fields, not {len(kind._fields)}')
        yield kind(*fields)


class Table:
    """Both tables, read."""

    def __init__(self, options, mmu):
        self.commands, self.options, self.strategies = [], [], list(rows(mmu, {'MMU': Strategy}))
        names = '|'.join(s.name for s in self.strategies)
        for row in rows(options, {'COMMAND': Command, 'OPTION': Option}):
            if isinstance(row, Command):
                self.commands.append(row)
            else:
                self.options.append(row._replace(values=names) if row.values == 'MMU_VALUES' else row)

    def of(self, command):
        return [o for o in self.options if o.command == command.name]


# --- the manual pages ---
def roff(text):
    """Text of a table as roff: `so` bold, <SO> in italics."""
    text = text.replace('\\', '\\e')
    text = re.sub(r'`([^`]*)`', lambda m: '\\fB' + m.group(1).replace('-', '\\-') + '\\fR', text)
    return re.sub(r'<([^>]*)>', lambda m: '\\fI' + m.group(1).replace('-', '\\-') + '\\fR', text)


def roff_argument(argument):
    """What stands for something is in capitals and goes to italics, what is written as it is becomes bold."""
    return re.sub(r'[A-Z]+|[a-z0-9]+', lambda m: ('\\fI' if m.group().isupper() else '\\fB') + m.group() + '\\fR', argument)


def manual_options(table, command):
    out = []
    for o in table.of(command):
        name = '\\fB' + o.name.replace('-', '\\-') + '\\fR'
        out += ['.TP', name + (' ' + roff_argument(o.argument) if o.argument else ''), roff(o.manual)]
        if o.name == '--mmu':
            out += [roff(f'`{s.name}` {s.manual}.') for s in table.strategies]
    return '\n'.join(out)


def manual(table, template, version):
    for command in table.commands:
        template = template.replace(f'@OPTIONS {command.name}@', manual_options(table, command))
    return template.replace('@VERSION@', version)


# --- completions ---
ACTIONS = {'root': 'add list rm shell', 'snapshot': 'info rm save'}  # of graft root, graft snapshot
BASH = '''\
# SPDX-FileCopyrightText: The Graft authors
# SPDX-License-Identifier: Apache-2.0
# bash completion for graft
_graft_values()
{{
    case $1 in
{values}
    *) return 1 ;;
    esac
}}

_graft_files()
{{
    local IFS=$'\\n'
    compopt -o filenames
    COMPREPLY=($(compgen -f -- "$1"))
}}

# _graft_value OPTION WORD: false if the option takes no value.
_graft_value()
{{
    local option=$1 word=$2 values before=
    values=$(_graft_values "$option") || return 1
    case $option in
{lists}
    esac
    case $values in
    FILE) _graft_files "$word" ;;
    *)
        case $values:$word in
        *file:*:file:*) _graft_files "${{word#file:}}" ;;
        *) COMPREPLY=($(compgen -P "$before" -W "$values" -- "$word")) ;;
        esac
        [ "${{COMPREPLY[*]}}" != file: ] || compopt -o nospace
        ;;
    esac
    return 0
}}

_graft()
{{
    local line word previous equals=
    COMPREPLY=()
    # bash makes words of = and : (COMP_WORDBREAKS); readline replaces what is behind the last of them.
    line=${{COMP_LINE:0:COMP_POINT}}
    word=${{line##*[[:space:]]}}
    previous=${{line%"$word"}}
    previous=${{previous%"${{previous##*[![:space:]]}}"}}
    previous=${{previous##*[[:space:]]}}
    case $word in
    --*=*) previous=${{word%%=*}} word=${{word#*=}} equals=1 ;;
    esac
    if _graft_value "$previous" "$word" || [ -n "$equals" ]; then return; fi
    case ${{COMP_WORDS[1]}} in
{commands}
    *) COMPREPLY=($(compgen -W "{names} help --help --version" -- "$word")) ;;
    esac
}}
complete -F _graft graft
'''


def files(option):
    return option.argument.startswith('FILE')


def offered(option):
    return [v for v in option.values.split('|') if not v.endswith('OPTION')]


def bash_values(option):
    if files(option):
        return 'FILE'
    return ' '.join(v.removesuffix('FILE') for v in offered(option))


def bash(table):
    taking = [o for o in table.options if o.argument]
    values = [f'    {o.name}) echo "{bash_values(o)}" ;;' for o in taking]
    lists = [f'    {o.name}) case $word in *,*) before=${{word%,*}}, word=${{word##*,}} ;; esac ;;'
             for o in taking if o.argument.endswith('...')]
    commands = []
    for c in table.commands:
        names = ' '.join(o.name for o in table.of(c))
        if c.name == 'root':
            commands.append(f'    root) COMPREPLY=($(compgen -W "{ACTIONS[c.name]} {names}" -- "$word")) ;;')
        elif c.name in ACTIONS:
            commands += [f'    {c.name})', '        case $previous in',
                         f'        {c.name}) COMPREPLY=($(compgen -W "{ACTIONS[c.name]} {names}" -- "$word")) ;;',
                         '        *) _graft_files "$word" ;;', '        esac', '        ;;']
        elif c.argument:
            commands += [f'    {c.name})', '        case $word in',
                         f'        -*) COMPREPLY=($(compgen -W "{names}" -- "$word")) ;;',
                         '        *) _graft_files "$word" ;;', '        esac', '        ;;']
        else:
            commands.append(f'    {c.name}) COMPREPLY=($(compgen -W "{names}" -- "$word")) ;;')
    return BASH.format(values='\n'.join(values), lists='\n'.join(lists), commands='\n'.join(commands),
                       names=' '.join(c.name for c in table.commands))


ZSH = '''\
#compdef graft
# SPDX-FileCopyrightText: The Graft authors
# SPDX-License-Identifier: Apache-2.0
# zsh completion for graft
_graft_backend()
{{
    if compset -P file:; then
        _files
    else
        compadd -- "${{@:#*:}}"
        compadd -S '' -- "${{(M)@:#*:}}"
    fi
}}

_graft()
{{
    local context state line
    local -a commands
    commands=(
{commands}
        'help:the options of a command'
        '--help:the commands'
        '--version:the version'
    )
    if (( CURRENT == 2 )); then
        _describe command commands
        return
    fi
    shift words
    (( CURRENT-- ))
    case $words[1] in
{arguments}
    esac
}}

_graft "$@"
'''


def zsh_quote(text):
    return text.replace("'", "'\\''")


def zsh_action(option):
    if files(option):
        return '_files'
    if 'FILE' in option.values:
        return '_graft_backend ' + bash_values(option).replace(':', '\\:')
    if option.argument.endswith('...'):
        return '_values -s , topic ' + ' '.join(option.values.split('|'))
    return '(' + ' '.join(offered(option)) + ')' if option.values else ' '


def zsh_option(option):
    text = zsh_quote(option.help.split('\n')[0].rstrip(':')).replace('[', '\\[').replace(']', '\\]').replace(':', '\\:')
    spec = option.name + ('=' if option.argument and option.name.startswith('--') else '') + (f'[{text}]' if text else '')
    if option.argument:
        spec += f":{zsh_quote(option.argument).replace(':', chr(92) + ':')}:{zsh_action(option)}"
    return "'" + ('*' if 'may be repeated' in option.help else '') + spec + "'"


def zsh_argument(command):
    if command.name in ACTIONS:
        return [f"'1:action:({ACTIONS[command.name]})'"] + (["'2:FILE:_files'"] if command.name == 'snapshot' else [])
    return [f"'1:{command.argument}:_files'"] if command.argument else []


def zsh(table):
    arguments = []
    for c in table.commands:
        specs = [zsh_option(o) for o in table.of(c)] + zsh_argument(c)
        arguments += [f'    {c.name})', '        _arguments -S \\'] + \
                     ['            ' + s + ' \\' for s in specs[:-1]] + ['            ' + specs[-1], '        ;;']
    commands = [f"        '{c.name}:{zsh_quote(c.help)}'" for c in table.commands]
    return ZSH.format(commands='\n'.join(commands), arguments='\n'.join(arguments))


def main():
    parser = argparse.ArgumentParser(description=__doc__.split('\n', maxsplit=1)[0])
    for name in ('options', 'mmu', 'manuals', 'version', 'out'):
        parser.add_argument('--' + name, required=True)
    a = parser.parse_args()
    table = Table(a.options, a.mmu)
    os.makedirs(a.out, exist_ok=True)
    made = {'graft.bash': bash(table), '_graft': zsh(table)}
    for page in ['graft.1'] + [f'graft-{c.name}.1' for c in table.commands]:
        with open(os.path.join(a.manuals, page + '.in'), encoding='ascii') as f:
            made[page] = manual(table, f.read(), a.version)
    for name, text in made.items():
        with open(os.path.join(a.out, name), 'w', encoding='ascii') as f:
            f.write(text)


if __name__ == '__main__':
    main()
