//! What is different when a person looks: colours, a line of progress that is written over, a question that is answered with a key.

use crate::harness::terminal::Terminal;
use crate::harness::{Place, until_told};
use crate::scripts::SHOW;

#[test]
fn progress_is_one_line_that_is_written_over() {
    let place = Place::new("terminal-progress", SHOW);
    let mut terminal = Terminal::new(place.command(["call", "counts"]));
    assert_eq!(terminal.code(), Some(0), "{:?}", terminal.screen());
    terminal.until_shown("\r\u{1b}[2K\u{1b}[2mline 3\u{1b}[0m");
    terminal.until_shown("\r\u{1b}[2Kline 1\r\nline 2\r\nline 3\r\n");
}

#[test]
fn mistakes_are_in_colour_unless_that_is_not_wanted() {
    let place = Place::new("terminal-colours", "[server]\nnmae = 'x'\n");
    let mut terminal = Terminal::new(place.command(["check"]));
    assert_eq!(terminal.code(), Some(1));
    terminal.until_shown("tools.toml:2:1: \u{1b}[1;31merror\u{1b}[0m: `nmae` is no key");
    let mut command = place.command(["check"]);
    command.env("NO_COLOR", "1");
    let mut plain = Terminal::new(command);
    assert_eq!(plain.code(), Some(1));
    plain.until_shown("tools.toml:2:1: error: `nmae` is no key");
}

#[test]
fn a_question_is_asked_and_answered_with_a_key() {
    let place = Place::new("terminal-asks", SHOW);
    for (key, code, shown) in [
        ("y\n", 0, "done\r\n"),
        ("n\n", 1, "Nothing was run."),
        ("\u{4}", 1, "Nothing was run."),
    ] {
        let mut terminal = Terminal::new(place.command(["call", "asks"]));
        terminal.until_shown("Do it? [y/N] ");
        terminal.press(key);
        assert_eq!(
            terminal.code(),
            Some(code),
            "{key:?}: {:?}",
            terminal.screen()
        );
        terminal.until_shown(shown);
    }
}

#[test]
fn ctrl_c_ends_the_call_and_its_script() {
    let place = Place::new(
        "terminal-interrupt",
        "[[tool]]\nname = 'hangs'\ndescription = 'Hangs.'\nshell = 'echo begun; echo $$ > pid; exec sleep 600'\noutput = 'lines'\n",
    );
    let mut terminal = Terminal::new(place.command(["call", "hangs"]));
    terminal.until_shown("begun");
    let mut pid = 0;
    until_told(
        "it has said who it is",
        || {
            let said = std::fs::read_to_string(place.0.join("pid")).unwrap_or_default();
            pid = said.trim().parse().unwrap_or(0);
            pid != 0
        },
        String::new,
    );
    rustix::process::kill_process(
        rustix::process::Pid::from_child(&terminal.child),
        rustix::process::Signal::INT,
    )
    .expect("it lives");
    assert_ne!(terminal.code(), Some(0));
    until_told(
        "the script is gone",
        || !crate::harness::child::is_alive(pid),
        String::new,
    );
}
