/** Receives its job and never responds. */
process.on('message', () => {})
setInterval(() => {}, 1_000)
