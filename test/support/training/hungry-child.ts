/** Allocates memory after it receives its job, until an allocation fails. */
const held: object[] = []
process.on('message', () => {
  for (;;) held.push(Array.from({ length: 100_000 }, (_, index) => ({ index })))
})
