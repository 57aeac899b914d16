#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# Copyright The Graft Authors
"""The manual pages and the completions that were built, beside what the built graft says and takes.

usage: test_options.py GRAFT FOLDER [TEST]...
FOLDER has graft.1, graft-COMMAND.1, graft.bash and _graft. Without zsh its completion is skipped.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

GRAFT, BUILT = os.path.abspath(sys.argv[1]), os.path.abspath(sys.argv[2])


def built(name):
    with open(os.path.join(BUILT, name), encoding='ascii') as f:
        return f.read()


def help_options(command):
    """{option: argument} of 'graft COMMAND --help'."""
    text = subprocess.run([GRAFT, command, '--help'], capture_output=True, text=True, timeout=30, check=True).stdout
    found = {}
    for line in text.splitlines():
        match = re.match(r'  (--?[A-Za-z-]+)(?: ([^ ]+))?(?:  *|$)', line)
        if match:
            name, argument = match.groups()
            found[name] = argument
    return found


def manual_options(command):
    """The same, from the manual page."""
    section = built(f'graft-{command}.1').split('.SH OPTIONS\n')[1].split('\n.SH')[0]
    plain = re.sub(r'\\f[BIR]', '', section).replace('\\-', '-')
    rows = re.findall(r'^\.TP\n(-\S+)(?: (.+))?$', plain, re.M)
    return {name: argument or None for name, argument in rows}


def bash(line, setup=''):
    """What bash offers at the end of a line."""
    script = f'''{setup}
. {BUILT}/graft.bash
compopt() {{ :; }}
COMP_LINE=$1 COMP_POINT=${{#1}}
read -ra COMP_WORDS <<<"$1"
_graft
printf '%s\\n' "${{COMPREPLY[@]}}"
'''
    r = subprocess.run(['bash', '-c', script, 'bash', line], capture_output=True, text=True, timeout=30, check=True)
    if r.stderr:
        raise AssertionError(r.stderr)
    return r.stdout.split()


class Options(unittest.TestCase):
    def test_manual_has_the_options_of_help(self):
        for command, least in (('run', 20), ('exec', 10), ('info', 2)):
            self.assertGreaterEqual(len(help_options(command)), least)
            self.assertEqual(help_options(command), manual_options(command))

    def test_manuals_are_well_formed(self):
        version = subprocess.run([GRAFT, '--version'], capture_output=True, text=True, timeout=30, check=True).stdout
        for page in ('graft', 'graft-exec', 'graft-info', 'graft-root', 'graft-run', 'graft-snapshot'):
            text = built(page + '.1')
            self.assertNotIn('@', text)
            self.assertNotIn('`', text)
            self.assertIn(f'"{version.strip()}"', text)
            self.assertIn('.SH NAME\n' + page.replace('-', '\\-') + ' \\- ', text)
            if shutil.which('man'):
                r = subprocess.run(['man', '--warnings', '-E', 'UTF-8', '-l', '-Tutf8', '-Z', os.path.join(BUILT, page + '.1')],
                                   capture_output=True, text=True, timeout=30, check=True, env={**os.environ, 'MANWIDTH': '80'})
                self.assertEqual(r.stderr, '')

    def test_bash_offers_the_options_of_help(self):
        for command in ('run', 'exec', 'info'):
            self.assertEqual(bash(f'graft {command} --'), [o for o in help_options(command) if o.startswith('--')])
        self.assertEqual(bash('graft '), ['exec', 'root', 'run', 'snapshot', 'info', 'help', '--help', '--version'])
        self.assertEqual(bash('graft run kernel --dum'), ['--dump-dtb', '--dump-on-panic', '--dump-filter'])
        self.assertEqual(bash('graft run -'), list(help_options('run')))

    def test_bash_takes_an_option_to_have_a_value_as_graft_does(self):
        for option, argument in help_options('run').items():
            offered = bash(f'graft run {option} --he')
            self.assertEqual(offered, [] if argument else ['--help'], option)

    def test_graft_takes_every_value_that_bash_offers(self):
        offers = {o: [v for v in bash(f'graft run {o} ') if v != 'file:'] for o, argument in help_options('run').items()
                  if argument and 'FILE' not in argument}
        self.assertTrue({'--mmu', '--cpu', '--net', '--serial', '--gic', '--vm', '-d'} <= {o for o, v in offers.items() if v})
        for option, values in offers.items():
            for value in values:
                r = subprocess.run([GRAFT, 'run', option, value, '--dump-dtb', '/dev/null', '--serial', 'none'],
                                   capture_output=True, text=True, timeout=30, check=False)
                self.assertEqual((r.returncode, r.stderr), (0, ''), (option, value))

    def test_bash_actions(self):
        self.assertEqual(bash('graft root '), ['add', 'list', 'rm', 'shell', '--help'])
        self.assertEqual(bash('graft root s'), ['shell'])
        self.assertEqual(bash('graft snapshot '), ['info', 'rm', 'save', '--help'])

    def test_bash_values(self):
        self.assertEqual(bash('graft run k --mmu=s'), ['soft'])
        self.assertEqual(bash('graft run k --net u'), ['user'])
        self.assertEqual(bash('graft run k -d in,ou'), ['in,out'])
        with tempfile.TemporaryDirectory() as d:
            for name in ('disk one.img', 'disk-two.img'):
                with open(os.path.join(d, name), 'wb'):
                    pass
            self.assertEqual(bash(f'graft run {d}/disk-', 'cd /'), [f'{d}/disk-two.img'])
            self.assertEqual(bash(f'graft run --drive {d}/disk-'), [f'{d}/disk-two.img'])
            self.assertEqual(bash(f'graft run --serial file:{d}/disk-'), [f'{d}/disk-two.img'])

    def test_zsh_has_the_options_of_help(self):
        text = built('_graft')
        for command in ('run', 'exec', 'info'):
            specs = re.search(rf'^    {command}\)\n(.*?)^        ;;', text, re.M | re.S).group(1)
            self.assertEqual(re.findall(r"^ +'\*?(-[A-Za-z-]+)", specs, re.M), list(help_options(command)))

    @unittest.skipUnless(shutil.which('zsh'), 'SKIP: there is no zsh')
    def test_zsh_offers_what_bash_does(self):
        """In an interactive zsh: the list that Tab shows, for an option's name and for values."""
        script = f'''
zmodload zsh/zpty
zpty z zsh -f -i
zpty -w z 'PS1=; fpath=({BUILT} $fpath); autoload -Uz compinit; compinit -u -D; stty cols 300'
zpty -w z 'bindkey "^I" list-choices; echo rea""dy'
zpty -r -m z text '*ready*' || exit 1
while (( $# )); do
    zpty -w -n z "$1"$'\\t'
    zpty -r -m z text "*$2*" || exit 1
    zpty -w -n z $'\\x15'
    shift 2
done
'''
        mmu = bash('graft run k --mmu ')
        pairs = ['graft run --dump-', '--dump-dtb*--dump-filter', 'graft run k --mmu ', '*'.join(sorted(mmu)),
                 'graft run k -d ', 'exec*guest*unimp', 'graft run k --serial ', 'file:*none*pty*stdio']
        # A word that never comes is waited for: the limit is far above what a right list takes.
        subprocess.run(['zsh', '-f', '-c', script, 'zsh', *pairs], capture_output=True, timeout=90, check=True)


if __name__ == '__main__':
    unittest.main(argv=[sys.argv[0]] + sys.argv[3:])
