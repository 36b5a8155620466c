/**
 * Evaluates worked cases with the project's statistics, for comparison with other implementations. Reads JSON lines
 * `{id, fn, input}` from stdin and writes `{id, output}` or `{id, error}` each. A null input is a missing value; an undefined result is
 * null, often with a `status`.
 *
 *     npm run reference --silent < cases.jsonl
 */

import { createInterface } from 'node:readline'
import { answer, withoutNaN } from './answer.ts'

// A reader such as `head` may close the pipe early.
process.stdout.on('error', (error: NodeJS.ErrnoException) => process.exit(error.code === 'EPIPE' ? 0 : 1))

for await (const line of createInterface({ input: process.stdin, crlfDelay: Infinity })) {
  if (line.trim() !== '') process.stdout.write(`${JSON.stringify(answer(line), withoutNaN)}\n`)
}
