/** Opens files until the system refuses another one, then starts a process in each way, and prints how each start has failed. */
import { openSync } from 'node:fs'
import { runServingChild } from '../../../activities/runtime/serving-child.ts'
import { runTrainingProgram } from '../../../activities/trainers/program.ts'
import { createRuntimes } from '../../../api/serving/runtime/hosts.ts'
import { startLimited } from '../../../api/serving/runtime/limited-process.ts'

/** A timer of a start keeps this process, also where the start has failed. */
const reachedMs = 1_000

const starts: (() => Promise<unknown>)[] = [
  async () => startLimited(['api/processes/artifact-reader.ts'], 768),
  () => runServingChild([], { script: 'api/processes/qualifier.ts', timeoutMs: reachedMs }),
  () =>
    runTrainingProgram({
      argv: ['true'],
      cwd: '/',
      env: {},
      input: '',
      signal: new AbortController().signal,
      silentMs: reachedMs,
      limitMs: reachedMs,
      onLine: () => {},
    }),
  () => {
    const model = { bytes: new Uint8Array(), plan: { inputs: [], output: '' } }
    return createRuntimes({ onError: () => {} }).sessions.open('crowded', model, { inputs: 1 })
  },
]

try {
  for (;;) openSync('/dev/null', 'r')
} catch {
  // No more files can be opened.
}
const codes: unknown[] = []
for (const start of starts) codes.push(await start().catch((error: { code?: string }) => error.code))
// An error that a started process reports later ends this process before it prints.
setTimeout(() => process.stdout.write(JSON.stringify(codes)), 100)
