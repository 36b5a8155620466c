/** Reads a few rows of a model and trains it on them, in a child process, and reports the result. */
import { fork } from 'node:child_process'
import { launcher, systemEnvironment } from '../../temporal.config.ts'

export interface TrainedALittle {
  rows?: number
  read?: number
  skipped?: string
  /** Why the rows cannot be read or the training failed. */
  issue?: string
}

type TrainingMessage =
  | { kind: 'alive' }
  | { kind: 'done'; result: Omit<TrainedALittle, 'issue'> }
  | { kind: 'failed'; message: string }

export function trainALittle(
  model: string,
  modelsDirectory: string,
  limitMs: number,
): Promise<TrainedALittle> {
  const child = fork(launcher, ['activities/check/check-training.ts'], {
    env: systemEnvironment(),
    stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
  })
  let last = ''
  child.stderr?.on('data', (text: Buffer) => (last = text.toString().trim().split('\n').at(-1) ?? last))
  return new Promise((resolve, reject) => {
    let told: TrainedALittle | undefined
    let late = false
    const timer = setTimeout(() => {
      late = true
      child.kill('SIGKILL')
    }, limitMs)
    child.on('message', (message: TrainingMessage) => {
      if (message.kind === 'alive') return
      told = message.kind === 'done' ? message.result : { issue: message.message }
      // A child process that has replied stays alive for the next job.
      clearTimeout(timer)
      child.kill('SIGKILL')
    })
    child.once('error', reject)
    child.once('close', (code, signal) => {
      clearTimeout(timer)
      const ended = late
        ? `it was not trained within ${limitMs / 1_000} s`
        : `the process that trains it ended (${signal ?? `exit code ${code}`})${last === '' ? '' : `: ${last}`}`
      resolve(late ? { issue: ended } : (told ?? { issue: ended }))
    })
    child.send({ model, modelsDirectory }, (error) => error && child.kill('SIGKILL'))
  })
}
