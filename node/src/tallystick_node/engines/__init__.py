"""The mathematics: libraries over arrays and channels. They know no chain, no database and no gRPC."""
