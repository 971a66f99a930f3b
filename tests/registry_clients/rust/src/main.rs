//! Tests the crate `schema_registry_converter` against the registry at the address in the argument.

use apache_avro::types::Value;
use schema_registry_converter::blocking::avro::{AvroDecoder, AvroEncoder};
use schema_registry_converter::blocking::schema_registry::{
    SrSettings, get_schema_by_id, get_schema_by_subject, post_schema,
};
use schema_registry_converter::schema_registry_common::{SchemaType, SubjectNameStrategy, SuppliedSchema};

const ORDER: &str = r#"{"type":"record","name":"Order","namespace":"shop","fields":[{"name":"id","type":"string"},{"name":"n","type":"long","default":0}]}"#;

fn main() {
    let url = std::env::args().nth(1).expect("the registry's address");
    let settings = SrSettings::new(url);
    let schema = || SuppliedSchema::new(Some("shop.Order".to_owned()), SchemaType::Avro, ORDER.to_owned());
    let topic = || SubjectNameStrategy::TopicNameStrategy("rust.orders".to_owned(), false);

    // The subject does not exist, then it is registered. A second registration has the same result.
    assert!(get_schema_by_subject(&settings, &topic()).is_err());
    let registered = post_schema(&settings, "rust.orders-value".to_owned(), schema()).expect("registered");
    let again = post_schema(&settings, "rust.orders-value".to_owned(), schema()).expect("registered again");
    assert_eq!(registered.id, again.id);
    let by_id = get_schema_by_id(registered.id, &settings).expect("by its id");
    let by_subject = get_schema_by_subject(&settings, &topic()).expect("by its subject");
    assert_eq!((by_subject.id, &by_subject.schema), (registered.id, &by_id.schema));
    println!("subjects: ok");

    // A value survives a round trip, with an existing schema and with one that the encoder registers.
    let with_schema = SubjectNameStrategy::TopicNameStrategyWithSchema("rust.own".to_owned(), false, schema());
    for strategy in [topic(), with_schema] {
        let fields = vec![("id", Value::String("O-1".to_owned())), ("n", Value::Long(7))];
        let bytes = AvroEncoder::new(settings.clone()).encode(fields, &strategy).expect("encoded");
        assert_eq!(bytes[..5], [&[0], registered.id.to_be_bytes().as_slice()].concat());
        let decoded = AvroDecoder::new(settings.clone()).decode(Some(&bytes)).expect("decoded");
        assert_eq!(
            decoded.value,
            Value::Record(vec![("id".to_owned(), Value::String("O-1".to_owned())), ("n".to_owned(), Value::Long(7))])
        );
    }
    println!("avro: ok");

    // An incompatible schema is refused.
    let narrower = ORDER.replace(r#""type":"string"}"#, r#""type":"int"}"#);
    let narrower = SuppliedSchema::new(None, SchemaType::Avro, narrower);
    assert!(post_schema(&settings, "rust.orders-value".to_owned(), narrower).is_err());
    println!("refusals: ok");
}
