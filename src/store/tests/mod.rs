//! Tests of the store as a whole, against a naive picture of what it should hold.

mod audit;
mod checkpoint;
mod crash;
mod damage;
mod deliveries;
mod feed;
mod live;
mod nobody;
mod plain;
mod unresolved;
mod upkeep;
mod waiting;
mod world;
