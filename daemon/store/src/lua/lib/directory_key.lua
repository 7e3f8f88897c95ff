-- Who holds the id of a data directory: `place`, `owner` and `beat`, which changes with every renewal.
local function directory_key(directory) return 'onceover:directory:' .. directory end
