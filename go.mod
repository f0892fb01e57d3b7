module husk

go 1.26
