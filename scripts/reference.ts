/**
 * Answers worked cases with the project's own statistics, so that anyone can check them against another
 * implementation: JSON lines `{id, fn, input}` on stdin, one line `{id, output}` (or `{id, error}`) each on stdout.
 * A null in an input is a missing value; what is undefined is null, often with a `status` that says why.
 *
 *     npm run reference --silent < cases.jsonl
 */

import { createInterface } from 'node:readline'
import { answer, withoutNaN } from './reference/answer.ts'

// A reader that has seen enough closes the pipe; that is no failure.
process.stdout.on('error', (error: NodeJS.ErrnoException) => process.exit(error.code === 'EPIPE' ? 0 : 1))

for await (const line of createInterface({ input: process.stdin, crlfDelay: Infinity })) {
  if (line.trim() !== '') process.stdout.write(`${JSON.stringify(answer(line), withoutNaN)}\n`)
}
