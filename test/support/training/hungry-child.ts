/** A child process that takes its job and then ever more memory, until it is refused some. */
const held: object[] = []
process.on('message', () => {
  for (;;) held.push(Array.from({ length: 100_000 }, (_, index) => ({ index })))
})
