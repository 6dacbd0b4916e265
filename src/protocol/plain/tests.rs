//! Whatever is read here is what the slow path reads, and the bounds of a message hold.

use super::*;
use crate::protocol::jsonrpc::{Message, parse_message};

const PLAIN: [&str; 6] = [
    r#"{"jsonrpc":"2.0","id":1,"method":"x","params":{"arguments":{"a":[0, -1,2.5e-7,10E+3,1e2],"b":true,"c":false,"d":null,"":"\u00e9\ud800\/\b\f\n\r\t\\"}}} "#,
    r#"{ "jsonrpc" : "2.0" , "id" : 1 , "method" : "x" , "params" : { "arguments" : [ [ ] , { } , { "a" : [ 1 , 2 ] } ] , "_meta" : { "x" : [ null ] } } }"#,
    r#"{"jsonrpc":"2.0","id":1,"method":"x","params":{}}"#,
    r#"{"params":{"name":"a","arguments":{"a\"b":[1]},"_meta":{}}, "method":"é","id":"\u0031","jsonrpc":"2.0"} "#,
    r#"{"jsonrpc":"2.0","id":-1,"method":"x","params":{"_meta":{"progressToken":7,"a/b":{}},"inputResponses":3,"requestState":"s"}}"#,
    r#"{"jsonrpc":"2.0","id":999999999999999999999,"method":"x","params":{"_meta":{"io.modelcontextprotocol/protocolVersion":"v","io.modelcontextprotocol/clientCapabilities":{"a":1},"io.modelcontextprotocol/clientInfo":[],"io.modelcontextprotocol/logLevel":"debug","traceparent":"00","tracestate":4,"baggage":""},"uri":"u","cursor":"c","taskId":"t"}}"#,
];

/// Whether it is read here; if so, as the slow path reads it.
fn is_read_alike(json: &str) -> bool {
    let Some((request, params)) = request(json, &Limits::default()) else {
        return false;
    };
    let Ok(Message::Request(expected, expected_params)) = parse_message(json.as_bytes()) else {
        panic!("{json} is no request");
    };
    let expected_params = expected_params.expect(json);
    assert_eq!(request.id, expected.id, "{json}");
    assert_eq!(request.method, expected.method, "{json}");
    let shown = format!("{params:?}");
    assert_eq!(shown, format!("{expected_params:?}"), "{json}");
    true
}

#[test]
fn a_plain_request_is_read_as_the_slow_path_reads_it() {
    for json in PLAIN {
        assert!(is_read_alike(json), "{json}");
    }
    let with =
        |params: &str| format!(r#"{{"jsonrpc":"2.0","id":1,"method":"x","params":{{{params}}}}}"#);
    for json in [
        r#"{"jsonrpc":"2.0","id":1,"method":"x"}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"x","params":null}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"x","params":[]}"#,
        r#"{"jsonrpc":"2.0","id":null,"method":"x","params":{}}"#,
        r#"{"jsonrpc":"2.0","id":01,"method":"x","params":{}}"#,
        r#"{"jsonrpc":"1.0","id":1,"method":"x","params":{}}"#,
        r#"{"id":1,"method":"x","params":{}}"#,
        r#"{"jsonrpc":"2.0","method":"x","params":{}}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"x","params":{},"result":1}"#,
        r#"{"jsonrpc":"2.0","id":1,"id":2,"method":"x","params":{}}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"x","params":{}} x"#,
        r#"["2.0",1,"x",{}]"#,
        "",
        &with(r#""name":1"#),
        &with(r#""name":"a","name":"b""#),
        &with(r#""name":null,"name":"b""#),
        &with(r#""arguments":{},"arguments":{}"#),
        &with(r#""_meta":{},"_meta":{}"#),
        &with(r#""_meta":{"progressToken":1,"progressToken":2}"#),
        &with(r#""_meta":["2026-07-28"]"#),
        &with("\"_meta\":{\"a\u{1}\":1}"),
        &with("\"arguments\":{\"a\":\"\u{1f}\"}"),
        &with("\n"),
        &with(r#""arguments":null"#),
        &with(r#""arguments":{"a":01}"#),
        &with(r#""arguments":{"a":-}"#),
        &with(r#""arguments":{"a":1.}"#),
        &with(r#""arguments":{"a":.5}"#),
        &with(r#""arguments":{"a":1e}"#),
        &with(r#""arguments":{"a":+1}"#),
        &with(r#""arguments":{"a":"\x"}"#),
        &with(r#""arguments":{"a":"\u12g4"}"#),
        &with(r#""arguments":{"a":tru}"#),
        &with(r#""arguments":{"a":nulll}"#),
        &with(r#""arguments":{"a":[1,]}"#),
        &with(r#""arguments":{"a":1,}"#),
        &with(r#""arguments":{"a"}"#),
        &with(r#""arguments":{1:2}"#),
        &with(r#""arguments":[1}"#),
    ] {
        assert!(!is_read_alike(json), "{json}");
    }
}

#[test]
fn law_9_what_breaks_a_bound_is_left_to_the_slow_path() {
    let nested = |depth: usize| {
        let (open, close) = ("[".repeat(depth), "]".repeat(depth));
        format!(r#"{{"jsonrpc":"2.0","id":1,"method":"x","params":{{"arguments":{open}{close}}}}}"#)
    };
    let is_read = |json: &str, limits: &Limits| request(json, limits).is_some();
    // Two levels are the message and its parameters.
    for depth_max in [3, 10, DEPTH_MAX, 1000] {
        let limits = Limits::default().json_depth_max(depth_max);
        let most = depth_max.min(DEPTH_MAX) - 2;
        assert!(is_read(&nested(most), &limits), "{depth_max}");
        assert!(!is_read(&nested(most + 1), &limits), "{depth_max}");
    }
    let json = PLAIN[2];
    let limits = |values_max| Limits::default().json_values_max(values_max);
    assert!(is_read(json, &limits(json.len())));
    assert!(!is_read(json, &limits(json.len() / 2)));
}

#[test]
fn what_ends_a_clean_stretch_is_found_wherever_it_stands() {
    for end in [b'"', b'\\'] {
        for len in 0..80 {
            for clean in [b' ', b'!', b'#', b'[', b']', 0x7f, 0x80, 0xff] {
                let mut bytes = vec![clean; len];
                assert_eq!(clean_len(&bytes), None, "{bytes:?}");
                bytes.extend([end, clean, end, clean, clean]);
                assert_eq!(clean_len(&bytes), Some(len), "{bytes:?}");
            }
        }
    }
}

/// However a text is damaged, nothing is read that the slow path refuses, or reads differently.
#[test]
fn what_is_damaged_is_left_to_the_slow_path() {
    let mut read = 0;
    for json in PLAIN {
        for (at, char) in json.char_indices() {
            let (before, after) = (&json[..at], &json[at + char.len_utf8()..]);
            for other in [
                "", "\"", "\\", "{", "}", "[", "]", ",", ":", "0", "-", ".", "e", "u", " ", "\n",
                "\u{1}", "é",
            ] {
                read += usize::from(is_read_alike(&format!("{before}{other}{after}")));
            }
        }
    }
    assert!(read > 0, "some damage does no harm");
}
