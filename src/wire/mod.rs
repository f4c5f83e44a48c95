//! How objects and events look as JSON, for the query socket and webhooks alike.
//!
//! Wire types borrow from the model (`impl From<&User> for UserBody`), which
//! itself knows no format. Names are in `snake_case`, in the order of the
//! contract. What is absent or empty is left out; `id`, `username`, `name` and
//! `active` are always there.

mod audit;
mod cause;
mod event;
mod moment;
mod object;
mod polis;
mod schema;
pub mod words;

pub use audit::AuditBody;
pub use cause::CauseBody;
pub use event::{DataBody, EventBody, PreviousBody};
pub use object::{AttributesBody, GroupBody, MemberBody, UserBody, ValueBody};
pub use polis::{Plain, PolisBody, PolisData, PolisGroup, PolisUser};
