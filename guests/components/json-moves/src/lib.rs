//! Says where people are, by the names of rooms: proves keys and tables in JSON.

heddle_sdk::component!(Moves);

use contracts::{Move, Person, Place, RoomKey};

struct Moves;

impl on_json_moves::Guest for Moves {
    fn handle(event: Move, key: Option<Person>) -> Result<(), Failure> {
        let person = key.ok_or_else(|| Failure::rejected("there is no key"))?;
        let Some(room) = table_rooms::get(RoomKey { number: event.room }) else {
            return Err(Failure::rejected(format!("there is no room {}", event.room)));
        };
        emit_json_places::send_with(&Place { room: room.name }, Some(&person), &[]);
        Ok(())
    }
}
