"""torch: modules and state dicts to models (`load`) and back (`save`)."""
