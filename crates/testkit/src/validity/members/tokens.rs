//! Tokens, of types known and unknown.

use serde_json::json;

use super::{Base, Corpus, set};

pub(super) fn cases(corpus: &mut Corpus) {
    for (what, token) in [
        (
            "of a type unknown",
            json!({"type": "later", "keyslots": ["0"], "x": {"y": [1]}}),
        ),
        ("of no keyslot", json!({"type": "later", "keyslots": []})),
        (
            "luks2-keyring",
            json!({"type": "luks2-keyring", "keyslots": ["0"], "key_description": "a"}),
        ),
        (
            "luks2-keyring without a description",
            json!({"type": "luks2-keyring", "keyslots": ["0"]}),
        ),
        (
            "luks2-keyring with a number",
            json!({"type": "luks2-keyring", "keyslots": ["0"], "key_description": 1}),
        ),
        (
            "luks2-keyring with an empty description",
            json!({"type": "luks2-keyring", "keyslots": ["0"], "key_description": ""}),
        ),
        (
            "luks2-keyring with more members",
            json!({"type": "luks2-keyring", "keyslots": ["0"], "key_description": "a", "later": 1}),
        ),
        (
            "of a reserved type",
            json!({"type": "luks2-later", "keyslots": ["0"]}),
        ),
        ("without a type", json!({"keyslots": ["0"]})),
        (
            "with a type that is a number",
            json!({"type": 1, "keyslots": ["0"]}),
        ),
        ("with an empty type", json!({"type": "", "keyslots": ["0"]})),
        ("without keyslots", json!({"type": "later"})),
        (
            "with keyslots that are text",
            json!({"type": "later", "keyslots": "0"}),
        ),
        (
            "with keyslots that are numbers",
            json!({"type": "later", "keyslots": [0]}),
        ),
        (
            "of a keyslot that is not there",
            json!({"type": "later", "keyslots": ["7"]}),
        ),
        (
            "of keyslot 00",
            json!({"type": "later", "keyslots": ["00"]}),
        ),
        (
            "of a keyslot without a number",
            json!({"type": "later", "keyslots": [""]}),
        ),
        (
            "of a keyslot twice",
            json!({"type": "later", "keyslots": ["0", "0"]}),
        ),
        ("that is null", json!(null)),
        ("that is a list", json!([])),
        ("that is empty", json!({})),
    ] {
        corpus.json(Base::Plain, format!("a token {what}"), move |json| {
            set(json, "tokens.0", token.clone());
        });
    }
    corpus.json(Base::Plain, "32 tokens", |json| {
        for id in 0..32 {
            set(
                json,
                &format!("tokens.{id}"),
                json!({"type": "later", "keyslots": []}),
            );
        }
    });
}
