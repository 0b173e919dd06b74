module verve/bench/table/go

go 1.25.0
