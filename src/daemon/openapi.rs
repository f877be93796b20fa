//! The API's description, made from the wire types.

use serde_json::{Value, json};
use utoipa::OpenApi;

use crate::api;
use crate::model;

#[derive(OpenApi)]
#[openapi(components(schemas(
    api::Adopt,
    api::Asked,
    api::DaemonStatus,
    api::Environment,
    api::Failure,
    api::Kind,
    api::Line,
    api::Request,
    api::Servers,
    model::Exit,
    model::Offer,
    model::Origin,
    model::State,
    model::Status
)))]
struct Schemas;

/// The OpenAPI document of the API.
pub fn document() -> Value {
    let mut document = serde_json::to_value(Schemas::openapi()).unwrap_or_default();
    document["info"] = json!({
        "title": "Pierhead",
        "version": api::PROGRAM_VERSION,
        "license": {"name": "MIT OR Apache-2.0"},
        "description": "The local API of the Pierhead daemon, on a socket that only its user can reach.",
    });
    document["paths"] = paths();
    document
}

fn paths() -> Value {
    let asks = |what: &str| {
        json!({"post": {
            "summary": what,
            "requestBody": {"required": true, "content": body("Request")},
            "responses": answers("Asked"),
        }})
    };
    json!({
        "/v1/daemon": {"get": {"summary": "The daemon itself", "responses": answers("DaemonStatus")}},
        "/v1/servers": {"get": {
            "summary": "Every server, or those of one repo",
            "parameters": [{"name": "repo", "in": "query", "required": false, "schema": {"type": "string"}}],
            "responses": answers("Servers"),
        }},
        "/v1/environment": {
            "get": {"summary": "What a repo's servers begin with", "parameters": [of_repo()], "responses": answers("Environment")},
            "post": {
                "summary": "Ask the login shell for it again",
                "parameters": [of_repo()],
                "responses": answers("Environment"),
            },
        },
        "/v1/events": {"get": {
            "summary": "Server-sent events: a snapshot, then every change; each event's data is one Line",
            "responses": {"200": {"description": "A stream that does not end",
                "content": {"text/event-stream": {"schema": {"$ref": "#/components/schemas/Line"}}}}},
        }},
        "/v1/up": asks("Start servers, what they depend on first"),
        "/v1/down": asks("Stop servers; one that somebody else started only if it is named as REPO/SERVER"),
        "/v1/restart": asks("Stop servers that run, and start them"),
        "/v1/adopt": {"post": {
            "summary": "Watch a server that somebody else started under a name, or watch it no more",
            "requestBody": {"required": true, "content": body("Adopt")},
            "responses": answers("Asked"),
        }},
        "/v1/wait": asks("Wait until servers are ready"),
        "/v1/reap": {"post": {
            "summary": "Judge every port file now and remove those that are proven stale",
            "responses": answers("Servers"),
        }},
        "/v1/reload": {"post": {"summary": "Read registry and approvals again", "responses": done()}},
        "/v1/shutdown": {"post": {"summary": "End the daemon; servers live on", "responses": done()}},
        "/v1/openapi.json": {"get": {"summary": "This document", "responses": done()}},
    })
}

fn of_repo() -> Value {
    json!({"name": "repo", "in": "query", "required": true, "schema": {"type": "string"}})
}

fn body(schema: &str) -> Value {
    json!({"application/json": {"schema": {"$ref": format!("#/components/schemas/{schema}")}}})
}

fn answers(schema: &str) -> Value {
    json!({
        "200": {"description": "Done", "content": body(schema)},
        "default": {"description": "What went wrong, and what to do", "content": body("Failure")},
    })
}

fn done() -> Value {
    json!({"200": {"description": "Done"}})
}
