//! The page of the API, from the OpenAPI document that the daemon serves; and the document itself, as a file.

use std::fmt::Write;

use serde_json::Value;

use crate::generated::{cell, keep, notice};

#[test]
fn the_page_of_the_api_is_that_of_the_daemon() {
    let document = pierhead::daemon::openapi();
    let mut page = format!("# The API\n\n{}{INTRODUCTION}", notice("the OpenAPI document"));
    page.push_str("## Paths\n");
    for (path, methods) in object(&document["paths"]) {
        for (method, operation) in object(methods) {
            describe_operation(&path, &method, operation, &mut page);
        }
    }
    page.push_str("\n## Shapes\n\nAbsent values are null. Fields are added, never renamed or removed: readers pass over what they do not know.\n");
    for (name, schema) in object(&document["components"]["schemas"]) {
        describe_schema(&name, schema, &mut page);
    }
    keep("docs/src/reference/api.md", &page);
}

/// Where programs are generated from; also what the compatibility tests of a later version hold answers against.
#[test]
fn the_openapi_document_is_that_of_the_daemon() {
    let text = serde_json::to_string_pretty(&pierhead::daemon::openapi()).expect("it is JSON");
    keep("docs/src/reference/openapi.json", &format!("{text}\n"));
}

const INTRODUCTION: &str = include_str!("api-introduction.md");

fn describe_operation(path: &str, method: &str, operation: &Value, page: &mut String) {
    let _ = write!(page, "\n### {} {path}\n\n", method.to_uppercase());
    let _ = writeln!(page, "{}.", text(&operation["summary"]));
    for parameter in operation["parameters"].as_array().into_iter().flatten() {
        let _ = write!(page, "\n`?{}=…`: {}.\n", text(&parameter["name"]), type_of(&parameter["schema"]));
    }
    if let Some(body) = content(&operation["requestBody"]) {
        let _ = write!(page, "\nBody: {body}.");
    }
    let mut answers = String::new();
    for (status, answer) in object(&operation["responses"]) {
        let status = if status == "default" { "otherwise".to_owned() } else { status };
        let what = content(answer).unwrap_or_else(|| text(&answer["description"]).to_lowercase());
        let _ = write!(answers, "{}{status}: {what}", if answers.is_empty() { "" } else { "; " });
    }
    let _ = write!(page, "\nAnswers {answers}.\n");
}

fn content(of: &Value) -> Option<String> {
    let (kind, body) = object(&of["content"]).into_iter().next()?;
    let shape = type_of(&body["schema"]);
    Some(if kind == "application/json" { shape } else { format!("`{kind}` of {shape}") })
}

fn describe_schema(name: &str, schema: &Value, page: &mut String) {
    // Links of Rust's own documentation lead nowhere here.
    let description = text(&schema["description"]).replace("[`", "`").replace("`]", "`");
    let _ = write!(page, "\n### {name}\n\n{description}\n");
    if schema.get("enum").is_some() {
        let _ = write!(page, "\n{}.\n", type_of(schema));
    }
    let variants: Vec<&Value> = schema["oneOf"].as_array().into_iter().flatten().collect();
    for variant in &variants {
        if variant.get("properties").is_some() {
            let _ = write!(page, "\n{}\n", text(&variant["description"]));
            fields(variant, page);
        } else {
            let _ = write!(page, "\n- {}: {}", type_of(variant), text(&variant["description"]));
        }
    }
    if variants.iter().any(|variant| variant.get("properties").is_none()) {
        page.push('\n');
    }
    fields(schema, page);
}

fn fields(schema: &Value, page: &mut String) {
    let fields = object(&schema["properties"]);
    if fields.is_empty() {
        return;
    }
    page.push_str("\n| field | type | |\n|---|---|---|\n");
    for (field, of) in fields {
        let _ = writeln!(page, "| `{field}` | {} | {} |", cell(&type_of(of)), cell(text(&of["description"])));
    }
}

/// A type in words, with a link where it is a shape of its own.
fn type_of(schema: &Value) -> String {
    if let Some(reference) = schema["$ref"].as_str() {
        let name = reference.rsplit('/').next().unwrap_or(reference);
        return format!("[{name}](#{})", name.to_lowercase());
    }
    if let Some(values) = schema["enum"].as_array() {
        return values.iter().map(|value| format!("`{}`", text(value))).collect::<Vec<_>>().join(" · ");
    }
    if let Some(several) = schema["oneOf"].as_array().or_else(|| schema["anyOf"].as_array()) {
        return several.iter().map(type_of).collect::<Vec<_>>().join(" or ");
    }
    match &schema["type"] {
        Value::Array(several) => several.iter().map(text).collect::<Vec<_>>().join(" or "),
        Value::String(kind) if kind == "array" => format!("list of {}", type_of(&schema["items"])),
        kind => text(kind).to_owned(),
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn object(value: &Value) -> Vec<(String, &Value)> {
    value.as_object().into_iter().flatten().map(|(key, value)| (key.clone(), value)).collect()
}
