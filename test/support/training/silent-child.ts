/** A child process that takes its job and never answers. */
process.on('message', () => {})
setInterval(() => {}, 1_000)
