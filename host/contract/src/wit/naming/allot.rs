//! The assignment of names.

use std::collections::{BTreeMap, BTreeSet};

use super::scope::{Renames, Wish, fulfil};
use super::things::{Base, Kind, Thing, of_schema as things_of_schema, of_world};
use super::{Names, plain_member, store_key, table_key, topic_key, type_key};
use crate::format::shape::Shapes;
use crate::wit::names::kebab;
use crate::wit::reserved::{is_case, is_field, is_type};
use crate::wit::{WitError, World};

pub(super) fn allot(world: &World<'_>, renames: &BTreeMap<String, String>, before: &Names) -> Result<Names, WitError> {
    let mut renames = Renames::new(renames);
    let mut names = Names::default();
    let topics = world.emits.iter().chain(&world.consumes).map(|topic| topic.name).collect::<BTreeSet<_>>();
    let topics = topics.into_iter().map(|topic| Wish::new(vec![topic_key(topic)], vec![kebab(topic)]));
    interfaces(topics.collect(), &mut renames, before, &mut names)?;
    let stores = world.stores.iter().map(|store| Wish::new(vec![store_key(store.name)], vec![kebab(store.name)]));
    interfaces(stores.collect(), &mut renames, before, &mut names)?;
    let tables = world.tables.iter().map(|table| Wish::new(vec![table_key(table.name)], vec![kebab(table.name)]));
    interfaces(tables.collect(), &mut renames, before, &mut names)?;
    types(&of_world(world), &mut renames, before, &mut names)?;
    renames.finish()?;
    Ok(names)
}

pub(super) fn of_schema(shapes: &Shapes) -> Names {
    let (renames, mut names) = (BTreeMap::new(), Names::default());
    // Only renames can be refused, and there are none here.
    let _ = types(&things_of_schema("", shapes), &mut Renames::new(&renames), &Names::default(), &mut names);
    names
}

fn interfaces(
    mut wishes: Vec<Wish>,
    renames: &mut Renames<'_>,
    before: &Names,
    names: &mut Names,
) -> Result<(), WitError> {
    fulfil(&mut wishes, renames, before, |_, _| true)?;
    record(wishes, names);
    Ok(())
}

fn record(wishes: Vec<Wish>, names: &mut Names) {
    for Wish { keys, given, .. } in wishes {
        names.0.extend(keys.into_iter().zip(std::iter::repeat(given.unwrap_or_default())));
    }
}

fn types(things: &[Thing], renames: &mut Renames<'_>, before: &Names, names: &mut Names) -> Result<(), WitError> {
    // Go has one name for a case and its type, so a type cannot get the name that a case already has.
    let cases = cases_before(things, before);
    let mut wishes = Vec::<Wish>::with_capacity(things.len());
    for thing in things {
        let candidates = if let Base::Named(_) = thing.base { named_candidates(thing, things) } else { vec![] };
        wishes.push(Wish::new(thing.keys().collect(), candidates));
    }
    // A union is named after the type around it, so that type comes first.
    let is_free = |_: usize, name: &str| !is_type(name) && !cases.contains(name);
    let is_named = |thing: &Thing| matches!(thing.base, Base::Named(_));
    fulfil_some(&mut wishes, things, is_named, renames, before, is_free)?;
    for place in 0..things.len() {
        if !is_named(&things[place]) {
            let plain = union_candidate(&things[place], &wishes);
            wishes[place].candidates = vec![plain.clone(), format!("{plain}-union")];
        }
    }
    let taken = wishes.iter().filter_map(|wish| wish.given.clone()).collect::<BTreeSet<_>>();
    let is_free_too = |place: usize, name: &str| is_free(place, name) && !taken.contains(name);
    fulfil_some(&mut wishes, things, |thing| !is_named(thing), renames, before, is_free_too)?;
    members(things, &wishes, renames, before, names)?;
    record(wishes, names);
    Ok(())
}

/// Like [`fulfil`], for some of the items.
fn fulfil_some(
    wishes: &mut [Wish],
    things: &[Thing],
    which: impl Fn(&Thing) -> bool,
    renames: &mut Renames<'_>,
    before: &Names,
    free: impl Fn(usize, &str) -> bool,
) -> Result<(), WitError> {
    let places = (0..things.len()).filter(|place| which(&things[*place])).collect::<Vec<_>>();
    // The other items keep the names that they had before.
    let others = things.iter().filter(|thing| !which(thing)).flat_map(Thing::keys);
    let others = others.filter_map(|key| before.0.get(&key)).collect::<BTreeSet<_>>();
    let own = |place: usize, name: &str| {
        let had = things[places[place]].keys().any(|key| before.0.get(&key).is_some_and(|had| had == name));
        (had || !others.contains(&name.to_owned())) && free(place, name)
    };
    let mut some = places
        .iter()
        .map(|place| Wish::new(wishes[*place].keys.clone(), wishes[*place].candidates.clone()))
        .collect::<Vec<_>>();
    fulfil(&mut some, renames, before, own)?;
    for (place, wish) in places.iter().zip(some) {
        wishes[*place] = wish;
    }
    Ok(())
}

/// The possible names of a named type: its own name; if that is not unique, its name with the namespace; or with the
/// subject, if several subjects define the name differently.
fn named_candidates(thing: &Thing, things: &[Thing]) -> Vec<String> {
    let Base::Named(name) = &thing.base else { return vec![] };
    let (plain, full) = (kebab(name.short()), kebab(name.full()));
    let subject = thing.subjects.first().map_or("", String::as_str);
    let subject = subject.strip_suffix("-value").unwrap_or(subject);
    let by_subject = format!("{}-{plain}", kebab(subject));
    let by_namespace = if name.namespace().is_empty() { format!("{plain}-type") } else { full };
    let topic = subject.strip_suffix("-key").unwrap_or(subject);
    if !name.namespace().is_empty() && kebab(name.namespace()) == kebab(topic) {
        // The type belongs to this topic, and other topics have types of the same short name.
        return vec![by_namespace, by_subject];
    }
    let is_alone = things.iter().filter(|other| other.local == thing.local).count() == 1;
    if is_alone { vec![plain, by_namespace, by_subject] } else { vec![plain, by_subject, by_namespace] }
}

/// The name of a union, such as `order-lines-item`: the type, the field, and the steps from there.
fn union_candidate(thing: &Thing, wishes: &[Wish]) -> String {
    let (first, path) = match &thing.base {
        Base::Within { owner, path } => (wishes[*owner].given.clone().unwrap_or_default(), path.as_slice()),
        Base::Subject(path) => (kebab(thing.subjects.first().map_or("", String::as_str)), path.as_slice()),
        Base::Named(name) => (kebab(name.short()), [].as_slice()),
    };
    std::iter::once(first).chain(path.iter().cloned()).collect::<Vec<_>>().join("-")
}

/// The names that Go had for cases before.
fn cases_before(things: &[Thing], before: &Names) -> BTreeSet<String> {
    let mut cases = BTreeSet::new();
    for thing in things.iter().filter(|thing| thing.kind != Kind::Record) {
        for subject in &thing.subjects {
            let Some(ty) = before.0.get(&type_key(subject, &thing.local)) else { continue };
            let members = thing.members.iter().map(|member| type_key(subject, &thing.member(member)));
            cases.extend(members.filter_map(|key| before.0.get(&key)).map(|case| format!("{ty}-{case}")));
        }
    }
    cases
}

/// Names fields, symbols and branches.
fn members(
    things: &[Thing],
    types: &[Wish],
    renames: &mut Renames<'_>,
    before: &Names,
    names: &mut Names,
) -> Result<(), WitError> {
    let mut taken = types.iter().filter_map(|wish| wish.given.clone()).collect::<BTreeSet<_>>();
    for (thing, ty) in things.iter().zip(types) {
        let ty = ty.given.as_deref().unwrap_or_default();
        let wish = |member: &String| {
            let local = thing.member(member);
            let keys = thing.subjects.iter().map(|subject| type_key(subject, &local)).collect();
            Wish::new(keys, member_candidates(thing.kind, member))
        };
        let mut wishes = thing.members.iter().map(wish).collect::<Vec<_>>();
        let in_go = |case: &str| format!("{ty}-{case}");
        let is_free = |_: usize, name: &str| {
            !is_reserved(thing.kind, name) && (thing.kind == Kind::Record || !taken.contains(&in_go(name)))
        };
        fulfil(&mut wishes, renames, before, is_free)?;
        if thing.kind != Kind::Record {
            taken.extend(wishes.iter().filter_map(|wish| wish.given.as_deref()).map(in_go));
        }
        record(wishes, names);
    }
    Ok(())
}

fn is_reserved(kind: Kind, name: &str) -> bool {
    if kind == Kind::Record { is_field(name) } else { is_case(name) }
}

fn member_candidates(kind: Kind, member: &str) -> Vec<String> {
    let plain = plain_member(member);
    let by_kind = match kind {
        Kind::Record => format!("{plain}-field"),
        Kind::Enum => format!("{plain}-symbol"),
        Kind::Union => format!("{plain}-branch"),
    };
    if is_reserved(kind, &plain) {
        vec![by_kind]
    } else if kind == Kind::Union && member.contains('.') {
        vec![plain, kebab(member)]
    } else {
        vec![plain]
    }
}
