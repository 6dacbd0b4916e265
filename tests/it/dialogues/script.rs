//! From a dialogue's text to what is to be said and heard, for one era. The syntax stands at the head of this directory.

use serde_json::{Value, json};

/// What one line says.
#[derive(Clone, Debug)]
pub(super) enum Beat {
    /// The client's capabilities.
    Client(Value),
    Log(String),
    Hello,
    Listen(Value),
    Request {
        method: String,
        params: Value,
    },
    Notification(Value),
    /// A question of the server's and the client's answer to it.
    Question {
        key: String,
        question: Value,
        answer: Value,
    },
    Result(Value),
    Error(Value),
    Cancel,
    Change(Value),
}

/// A beat and the number of its line.
pub(super) type Line = (usize, Beat);

/// What is played in this era.
pub(super) fn parse(text: &str, is_modern: bool) -> Vec<Line> {
    let (own, foreign) = match is_modern {
        true => ("modern: ", "legacy: "),
        false => ("legacy: ", "modern: "),
    };
    let mut beats: Vec<Line> = Vec::new();
    for (number, line) in joined(text) {
        if line.starts_with(foreign) {
            continue;
        }
        let line = line.strip_prefix(own).unwrap_or(&line);
        let (sign, rest) = line.split_once(' ').unwrap_or((line, ""));
        if sign == ">?" {
            let Some((_, Beat::Question { answer, .. })) = beats.last_mut() else {
                panic!("line {number} answers no question: {line}");
            };
            *answer = json(number, rest);
            continue;
        }
        beats.push((number, beat(number, sign, rest)));
    }
    beats
}

/// The lines with what continues them, without remarks, each with its number.
fn joined(text: &str) -> Vec<(usize, String)> {
    let mut lines: Vec<(usize, String)> = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        match lines.last_mut() {
            _ if line.trim().is_empty() || line.starts_with('#') => {}
            Some((_, above)) if line.starts_with(' ') => {
                above.push(' ');
                above.push_str(line.trim());
            }
            _ => lines.push((number, line.trim_end().to_owned())),
        }
    }
    lines
}

#[track_caller]
fn beat(number: usize, sign: &str, rest: &str) -> Beat {
    match sign {
        "client" => Beat::Client(json(number, rest)),
        "log" => Beat::Log(rest.to_owned()),
        "hello" => Beat::Hello,
        "listen" => Beat::Listen(json(number, rest)),
        "->" => {
            let (method, params) = message(number, rest);
            Beat::Request { method, params }
        }
        "<~" => Beat::Notification(called(number, rest)),
        "<*" => Beat::Change(called(number, rest)),
        "<?" => {
            let (key, question) = rest.split_once(' ').unwrap_or((rest, ""));
            Beat::Question {
                key: key.to_owned(),
                question: called(number, question),
                answer: Value::Null,
            }
        }
        "<-" => Beat::Result(json(number, rest)),
        "<!" => Beat::Error(json(number, rest)),
        "-x" => Beat::Cancel,
        _ => panic!("line {number} begins with `{sign}`, which means nothing"),
    }
}

/// A method and its parameters.
#[track_caller]
fn message(number: usize, text: &str) -> (String, Value) {
    let (method, params) = text.split_once(' ').unwrap_or((text, "{}"));
    (method.to_owned(), json(number, params))
}

#[track_caller]
fn called(number: usize, text: &str) -> Value {
    let (method, params) = message(number, text);
    json!({ "method": method, "params": params })
}

#[track_caller]
fn json(number: usize, text: &str) -> Value {
    match serde_json::from_str(text) {
        Ok(value) => value,
        Err(error) => panic!("line {number} is not JSON ({error}): {text}"),
    }
}
