// Package main counts orders in Protobuf, and passes each on as it came, like its sibling in Rust.
package main

import (
	"orders/heddle"
	"orders/heddle/contracts"
)

func init() { heddle.Export(orders{}) }
func main() {}

type orders struct{}

func (orders) OnProtoIn(order contracts.Order) error {
	if number, ok := order.Status.(contracts.StatusUnrecognized); ok && number < 0 {
		return heddle.Rejected("the status is negative")
	}
	tally, _ := heddle.StoreTallies.Get("all")
	tally.Orders++
	if order.Total != nil {
		tally.Units += order.Total.Units
	}
	tally.Ids = append(tally.Ids, order.ID)
	heddle.StoreTallies.Put("all", tally)
	heddle.EmitProtoOut.Send(contracts.Receipt{Number: tally.Units, Order: &order})
	return nil
}
