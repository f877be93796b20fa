//! A JSON Schema validator of others: Python's `jsonschema`.

use std::io::Write;
use std::process::{Command, Stdio};

use serde_json::Value;

/// Of `{"schema", "values"}`: what is wrong with each value, in words; nothing where it is valid.
#[track_caller]
pub(crate) fn validate(question: &Value) -> Vec<String> {
    let mut python = Command::new(crate::tools::tool("python"))
        .args(["-c", SCRIPT])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("start Python");
    let mut input = python.stdin.take().expect("a pipe");
    input.write_all(question.to_string().as_bytes()).expect("ask");
    drop(input);
    let output = python.wait_with_output().expect("an answer");
    assert!(output.status.success(), "the validator failed");
    serde_json::from_slice(&output.stdout).expect("it answers in JSON")
}

const SCRIPT: &str = "
import json, sys
from jsonschema.validators import validator_for
question = json.load(sys.stdin)
schema = question['schema']
if list(schema) == ['$ref']:  # a schema is asked about
    schema = validator_for({'$schema': schema['$ref']}).META_SCHEMA
kind = validator_for(schema)
kind.check_schema(schema)
errors = [next(iter(kind(schema).iter_errors(value)), None) for value in question['values']]
print(json.dumps(['' if e is None else f'{e.json_path}: {e.message}' for e in errors]))
";
