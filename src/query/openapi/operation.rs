//! One request: what it takes, what it answers.

use std::collections::BTreeMap;

use utoipa::openapi::content::ContentBuilder;
use utoipa::openapi::extensions::ExtensionsBuilder;
use utoipa::openapi::header::HeaderBuilder;
use utoipa::openapi::path::{HttpMethod, OperationBuilder, Parameter};
use utoipa::openapi::request_body::RequestBodyBuilder;
use utoipa::openapi::response::ResponseBuilder;
use utoipa::openapi::schema::{AllOfBuilder, ObjectBuilder, Type};
use utoipa::openapi::security::SecurityRequirement;
use utoipa::openapi::{self, Content, Ref, RefOr, Required, Response, Schema};
use utoipa::{PartialSchema, ToSchema};

use super::problems::{self, Word};
use crate::query::problem::ProblemBody;

type Schemas = Vec<(String, RefOr<Schema>)>;

/// An operation of the document, and the schemas it names.
pub struct Operation {
    path: &'static str,
    method: HttpMethod,
    inner: OperationBuilder,
    answers: BTreeMap<u16, ResponseBuilder>,
    problems: BTreeMap<u16, Vec<Word>>,
    schemas: Schemas,
}

impl Operation {
    /// `GET path`. The id is what generated clients call it.
    pub fn get(path: &'static str, id: &'static str, summary: &str) -> Operation {
        Operation::new(HttpMethod::Get, path, id, summary)
    }

    /// `POST path`.
    pub fn post(path: &'static str, id: &'static str, summary: &str) -> Operation {
        Operation::new(HttpMethod::Post, path, id, summary)
    }

    fn new(method: HttpMethod, path: &'static str, id: &str, summary: &str) -> Operation {
        let inner = OperationBuilder::new().operation_id(Some(id)).summary(Some(summary));
        let mut operation = Operation {
            path,
            method,
            inner,
            answers: BTreeMap::new(),
            problems: BTreeMap::new(),
            schemas: Schemas::new(),
        };
        operation.knows::<ProblemBody<'static>>();
        operation.may(&problems::ALWAYS)
    }

    /// What is to be known of it beyond the summary.
    pub fn describe(mut self, text: &str) -> Operation {
        self.inner = self.inner.description(Some(text));
        self
    }

    /// The part of the document it stands in.
    pub fn tag(mut self, tag: &str) -> Operation {
        self.inner = self.inner.tag(tag);
        self
    }

    /// What goes into the path, the query and the headers.
    pub fn with(mut self, parameters: impl IntoIterator<Item = Parameter>) -> Operation {
        for parameter in parameters {
            self.inner = self.inner.parameter(parameter);
        }
        self
    }

    /// A body of JSON, which must be there.
    pub fn takes<T: ToSchema>(mut self, what: &str) -> Operation {
        self.knows::<T>();
        let content = Content::new(Some(Ref::from_schema_name(T::name())));
        let body = RequestBodyBuilder::new()
            .description(Some(what))
            .required(Some(Required::True))
            .content("application/json", content)
            .build();
        self.inner = self.inner.request_body(Some(body));
        self
    }

    /// An answer of JSON.
    pub fn answers<T: ToSchema>(mut self, status: u16, what: &str) -> Operation {
        self.knows::<T>();
        let content = Content::new(Some(Ref::from_schema_name(T::name())));
        self.answer(status, what, "application/json", content)
    }

    /// An answer that is a sequence of `T`, written as the content type says.
    pub fn streams<T: ToSchema>(mut self, status: u16, what: &str, kind: &str) -> Operation {
        self.knows::<T>();
        let item = serde_json::json!({ "$ref": format!("#/components/schemas/{}", T::name()) });
        let content = ContentBuilder::new()
            .schema(Some(text()))
            .extensions(Some(ExtensionsBuilder::new().add("x-item-schema", item).build()));
        self.answer(status, what, kind, content.build())
    }

    /// An answer that is no JSON: `schema` is of the body as a text or as bytes.
    pub fn answers_as(self, status: u16, what: &str, kind: &str) -> Operation {
        self.answer(status, what, kind, Content::new(Some(text())))
    }

    /// 304, without a body, for whoever holds what there is.
    pub fn unchanged(mut self) -> Operation {
        let answer = ResponseBuilder::new().description("What `If-None-Match` names is current.");
        self.answers.insert(304, answer);
        self
    }

    /// The problems it may answer with, besides those of every request.
    pub fn may(mut self, words: &[Word]) -> Operation {
        for word in words {
            let of_status = self.problems.entry(word.status).or_default();
            if !of_status.contains(word) {
                of_status.push(*word);
            }
        }
        self
    }

    /// Nobody needs a token for it.
    pub fn open(mut self) -> Operation {
        self.inner = self.inner.securities(Some([SecurityRequirement::default()]));
        self.problems.remove(&problems::UNAUTHORIZED.status);
        self
    }

    /// Path, method, operation, and the schemas by name.
    pub fn build(self) -> (&'static str, HttpMethod, openapi::path::Operation, Schemas) {
        let mut inner = self.inner;
        for (status, answer) in self.answers {
            inner = inner.response(status.to_string(), answer.build());
        }
        for (status, words) in self.problems {
            inner = inner.response(status.to_string(), problem(&words));
        }
        (self.path, self.method, inner.build(), self.schemas)
    }

    fn answer(mut self, status: u16, what: &str, kind: &str, content: Content) -> Operation {
        let answer = self.answers.remove(&status).unwrap_or_default();
        self.answers.insert(status, answer.description(what).content(kind, content));
        self
    }

    fn knows<T: ToSchema>(&mut self) {
        self.schemas.push((T::name().into_owned(), T::schema()));
        T::schemas(&mut self.schemas);
    }
}

/// A problem whose word is one of these.
fn problem(words: &[Word]) -> Response {
    let titles = ObjectBuilder::new()
        .schema_type(Type::String)
        .enum_values(Some(words.iter().map(|word| word.name)));
    let schema = AllOfBuilder::new()
        .item(Ref::from_schema_name(ProblemBody::name()))
        .item(ObjectBuilder::new().property("title", titles));
    let meanings: Vec<String> =
        words.iter().map(|word| format!("`{}`: {}", word.name, word.meaning)).collect();
    let content = Content::new(Some(Schema::from(schema.build())));
    let mut response = ResponseBuilder::new()
        .description(meanings.join("\n\n"))
        .content("application/problem+json", content);
    for (name, what) in words.iter().filter_map(|word| word.header) {
        let header = HeaderBuilder::new().schema(Some(text())).description(Some(what));
        response = response.header(name, header.build());
    }
    response.build()
}

fn text() -> RefOr<Schema> {
    String::schema()
}
