//! What a question is on the wire, and what an unanswered one becomes.

use super::*;

#[test]
fn a_question_to_a_model_is_this_object() {
    let question = Sampling::new(7)
        .system("Be brief.")
        .user("Why?")
        .assistant("Because.")
        .temperature(0.5)
        .set("stopSequences", json!(["."]));
    let text = |role: &str, text: &str| json!({ "role": role, "content": { "type": "text", "text": text } });
    let expected = json!({
        "messages": [text("user", "Why?"), text("assistant", "Because.")],
        "maxTokens": 7,
        "systemPrompt": "Be brief.",
        "temperature": 0.5,
        "stopSequences": ["."]
    });
    assert_eq!(Value::Object(question.params), expected);
}

#[test]
fn the_text_of_an_answer_is_its_text_blocks() {
    let rows = [
        (json!({ "type": "text", "text": "one" }), "one"),
        (
            json!([{ "type": "text", "text": "one" }, { "type": "image" }, { "type": "text", "text": "two" }]),
            "one\ntwo",
        ),
        (json!([]), ""),
        (json!("bare"), ""),
        (Value::Null, ""),
    ];
    for (content, expected) in rows {
        let sampled = Sampled {
            content,
            model: String::new(),
            stop_reason: None,
        };
        assert_eq!(sampled.text(), expected);
    }
}

#[test]
fn only_a_missing_capability_of_the_modern_era_is_an_error_of_the_protocol() {
    let unsupported = |era| AskError::Unsupported {
        required: json!({ "roots": {} }),
        era,
    };
    let error = unsupported(Era::Modern)
        .protocol_error()
        .expect("it is one");
    assert_eq!(error.code, ErrorCode::MISSING_CLIENT_CAPABILITY);
    assert_eq!(
        error.data,
        Some(json!({ "requiredCapabilities": { "roots": {} } }))
    );
    let others = [
        unsupported(Era::Legacy),
        AskError::Unanswered,
        AskError::Cancelled,
        AskError::TimedOut,
        AskError::Left,
        AskError::Refused {
            code: -32601,
            message: String::new(),
        },
        AskError::Invalid("no".into()),
    ];
    for error in others {
        assert_eq!(error.protocol_error(), None, "{error}");
    }
}
