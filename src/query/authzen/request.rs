//! What is asked: read tolerantly, and made whole with the defaults.

use std::borrow::Cow;
use std::fmt;

use serde::de::value::MapAccessDeserializer;
use serde::de::{IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use crate::clock::Duration;
use crate::config::duration;
use crate::query::problem::Problem;

/// Of whatever names somebody or something. A question may repeat the default of
/// all, and each answer repeats it again.
const TEXT_BYTES_MAX: usize = 1 << 10;

/// What is asked. Unknown members are passed over (section 4).
#[derive(Debug, Deserialize)]
pub struct Asked<'a> {
    #[serde(borrow)]
    subject: Option<Entity<'a>>,
    #[serde(borrow)]
    action: Option<Entity<'a>>,
    #[serde(borrow)]
    resource: Option<Entity<'a>>,
    #[serde(borrow)]
    context: Option<Entity<'a>>,
    #[serde(borrow)]
    pub evaluations: Option<Vec<Evaluation<'a>>>,
    pub options: Option<Options>,
}

/// One of many questions; what it does not say, the whole request says.
#[derive(Debug, Default, Deserialize)]
pub struct Evaluation<'a> {
    #[serde(borrow)]
    subject: Option<Entity<'a>>,
    #[serde(borrow)]
    action: Option<Entity<'a>>,
    #[serde(borrow)]
    resource: Option<Entity<'a>>,
    #[serde(borrow)]
    context: Option<Entity<'a>>,
}

/// Subject, action, resource or context. One that is not an object is an error
/// of its own question only.
#[derive(Debug)]
pub enum Entity<'a> {
    Object(Members<'a>),
    Other,
}

/// Those that count, of whichever entity.
#[derive(Debug, Deserialize)]
pub struct Members<'a> {
    #[serde(borrow, rename = "type")]
    kind: Option<Text<'a>>,
    #[serde(borrow)]
    id: Option<Text<'a>>,
    #[serde(borrow)]
    name: Option<Text<'a>>,
    #[serde(borrow)]
    max_age: Option<Text<'a>>,
}

/// A string, or what should have been one.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub enum Text<'a> {
    Text(#[serde(borrow)] Cow<'a, str>),
    Other(IgnoredAny),
}

impl<'de: 'a, 'a> Deserialize<'de> for Entity<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Entity<'a>, D::Error> {
        deserializer.deserialize_any(AnyEntity)
    }
}

/// Reads an entity. By hand: an untagged enum would keep a copy of all its
/// properties, and take a list for an object.
struct AnyEntity;

impl<'de> Visitor<'de> for AnyEntity {
    type Value = Entity<'de>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Entity<'de>, A::Error> {
        Members::deserialize(MapAccessDeserializer::new(map)).map(Entity::Object)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Entity<'de>, A::Error> {
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Entity::Other)
    }

    fn visit_str<E>(self, _: &str) -> Result<Entity<'de>, E> {
        Ok(Entity::Other)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Entity<'de>, E> {
        Ok(Entity::Other)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Entity<'de>, E> {
        Ok(Entity::Other)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Entity<'de>, E> {
        Ok(Entity::Other)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Entity<'de>, E> {
        Ok(Entity::Other)
    }
}

/// How to go about it.
#[derive(Debug, Deserialize)]
pub struct Options {
    #[serde(default)]
    pub evaluations_semantic: Semantic,
}

/// When to stop.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Semantic {
    #[default]
    ExecuteAll,
    DenyOnFirstDeny,
    PermitOnFirstPermit,
}

/// Reads the body of a request.
///
/// # Errors
/// 400 when it is none.
pub fn parse(body: &[u8]) -> Result<Asked<'_>, Problem> {
    let first = body.iter().find(|byte| !byte.is_ascii_whitespace());
    let asked = match first {
        // A list of what an object has would do for serde.
        Some(b'[') => Err(serde::de::Error::custom("it is a list")),
        _ => serde_json::from_slice(body),
    };
    asked.map_err(|reason: serde_json::Error| {
        let hint = r#"send {"subject": {"type": "user", "id": "…"}, "action": {"name": "member"}, "resource": {"type": "group", "id": "…"}}"#;
        Problem::bad_request(format!("the body is no evaluation request: {reason}")).hint(hint)
    })
}

/// A question that is whole.
pub struct Tuple<'q> {
    /// Type and id.
    pub subject: (&'q str, &'q str),
    pub action: &'q str,
    pub resource: (&'q str, &'q str),
    pub max_age: Option<Duration>,
}

impl<'q> Tuple<'q> {
    /// A question and what goes for all of them.
    ///
    /// # Errors
    /// 400 when a member is missing or of a wrong type.
    pub fn of(one: &'q Evaluation<'_>, all: &'q Asked<'_>) -> Result<Tuple<'q>, Problem> {
        let subject = Merged::of("subject", &one.subject, &all.subject)?;
        let action = Merged::of("action", &one.action, &all.action)?;
        let resource = Merged::of("resource", &one.resource, &all.resource)?;
        Ok(Tuple {
            subject: (subject.text("type", |m| &m.kind)?, subject.text("id", |m| &m.id)?),
            action: action.text("name", |m| &m.name)?,
            resource: (resource.text("type", |m| &m.kind)?, resource.text("id", |m| &m.id)?),
            // Our own member: not lost to a question's context about something else.
            max_age: match max_age(one.context.as_ref())? {
                None => max_age(all.context.as_ref())?,
                own => own,
            },
        })
    }

    /// Why it is not the kind of question that is answered here.
    pub fn unsupported(&self) -> Option<&'static str> {
        match (self.subject.0, self.action, self.resource.0) {
            ("user", "member", "group") => None,
            ("user", "member", _) => Some("unsupported-resource-type"),
            ("user", _, _) => Some("unsupported-action"),
            _ => Some("unsupported-subject-type"),
        }
    }
}

/// An entity of one question and its default: a member that the question does
/// not have is the default's.
struct Merged<'q, 'a> {
    entity: &'static str,
    own: Option<&'q Members<'a>>,
    default: Option<&'q Members<'a>>,
}

impl<'q, 'a> Merged<'q, 'a> {
    fn of(
        entity: &'static str,
        own: &'q Option<Entity<'a>>,
        default: &'q Option<Entity<'a>>,
    ) -> Result<Merged<'q, 'a>, Problem> {
        let own = members(entity, own)?;
        Ok(Merged { entity, own, default: members(entity, default)? })
    }

    fn text(
        &self,
        member: &str,
        get: impl Fn(&'q Members<'a>) -> &'q Option<Text<'a>>,
    ) -> Result<&'q str, Problem> {
        let Merged { entity, own, default } = self;
        match own.and_then(&get_of(&get)).or_else(|| default.and_then(get_of(&get))) {
            Some(Text::Text(text)) if text.len() > TEXT_BYTES_MAX => {
                let detail = format!("`{entity}.{member}` is over {TEXT_BYTES_MAX} bytes");
                Err(Problem::bad_request(detail))
            }
            Some(Text::Text(text)) => Ok(text),
            Some(Text::Other(_)) => {
                Err(Problem::bad_request(format!("`{entity}.{member}` is not a string")))
            }
            None => Err(Problem::bad_request(format!("`{entity}.{member}` is missing"))),
        }
    }
}

fn get_of<'q, 'a: 'q>(
    get: &impl Fn(&'q Members<'a>) -> &'q Option<Text<'a>>,
) -> impl Fn(&'q Members<'a>) -> Option<&'q Text<'a>> {
    move |members| get(members).as_ref()
}

fn members<'q, 'a>(
    entity: &str,
    value: &'q Option<Entity<'a>>,
) -> Result<Option<&'q Members<'a>>, Problem> {
    match value {
        None => Ok(None),
        Some(Entity::Object(members)) => Ok(Some(members)),
        Some(Entity::Other) => {
            Err(Problem::bad_request(format!("`{entity}` is not an object with strings")))
        }
    }
}

/// `max_age` in the context: our own member, since the API has none.
fn max_age(context: Option<&Entity<'_>>) -> Result<Option<Duration>, Problem> {
    let wrong = || Problem::bad_request("`context.max_age` is not a duration like \"5m\"");
    match context {
        None => Ok(None),
        Some(Entity::Other) => Err(Problem::bad_request("`context` is not an object")),
        Some(Entity::Object(Members { max_age, .. })) => match max_age {
            None => Ok(None),
            Some(Text::Text(text)) => duration::parse(text).map(Some).map_err(|_| wrong()),
            Some(Text::Other(_)) => Err(wrong()),
        },
    }
}

/// Any bytes as a request.
#[cfg(any(test, fuzzing))]
pub fn feed(bytes: &[u8]) {
    let Ok(asked) = parse(bytes) else { return };
    for one in asked.evaluations.iter().flatten() {
        if let Ok(tuple) = Tuple::of(one, &asked) {
            let _ = tuple.unsupported();
        }
    }
}
