/** Checks model files that were sent, in a child process with limited memory and time; one at a time, because a replica also serves. Runs none. */
import { fork } from 'node:child_process'
import { withMemoryLimit } from '@tenure/predictors/memory-limit'
import { DomainError } from '../../../domain/errors.ts'
import type { CheckedFiles } from '../../../domain/installation/model-files.ts'
import type { Actor } from '../../auth/authentication.ts'
import { checkout, launcher, systemEnvironment } from '../../../temporal.config.ts'

const memoryMb = 1_024
const limitMs = 120_000
/** The number of models whose files a replica checks or lets wait: each holds an archive in memory. */
export const maxChecks = 8
/** Those of one user: the others keep places of their own. */
export const maxOwnChecks = 4

let last: Promise<unknown> = Promise.resolve()
const checks: string[] = []

/** Throws `invalid_model_file` with the issues of the check, and `overloaded` while too many others, or the same user's, wait for theirs. */
export async function checkModelFiles(
  actor: Pick<Actor, 'name'>,
  model: string,
  archive: Buffer,
): Promise<CheckedFiles> {
  const own = checks.filter((name) => name === actor.name).length
  if (checks.length >= maxChecks || own >= maxOwnChecks)
    throw new DomainError(
      'overloaded',
      `this replica is checking the files of ${checks.length} models already, ${own} of them for ${actor.name}`,
    )
  checks.push(actor.name)
  const next = last.catch(() => {}).then(() => check(model, archive))
  last = next
  return next.finally(() => checks.splice(checks.indexOf(actor.name), 1))
}

type Reply = { checked: CheckedFiles } | { message: string; issues?: string[] }

function check(model: string, archive: Buffer): Promise<CheckedFiles> {
  const child = fork(launcher, ['cli/check/check-files.ts'], {
    ...withMemoryLimit(memoryMb),
    cwd: checkout,
    env: systemEnvironment(),
    stdio: ['ignore', 'ignore', 'ignore', 'ipc'],
    serialization: 'advanced',
    // A group of its own, which ends with it: it starts a parser of Python.
    detached: true,
  })
  return new Promise((resolve, reject) => {
    let reply: Reply | undefined
    const kill = () => {
      try {
        process.kill(-child.pid!, 'SIGKILL')
      } catch {
        // All of it has ended.
      }
    }
    const timer = setTimeout(kill, limitMs)
    child.on('message', (message: Reply) => (reply = message))
    child.once('error', reject)
    child.once('close', () => {
      clearTimeout(timer)
      kill()
      if (reply !== undefined && 'checked' in reply) return resolve(reply.checked)
      const issue =
        reply?.message ??
        `the check took more than ${limitMs / 1_000} s or ${memoryMb} MB: send fewer or smaller files`
      reject(
        new DomainError('invalid_model_file', `${model}: ${issue}`, { issues: reply?.issues ?? [issue] }),
      )
    })
    child.send({ model, archive }, (error) => error && kill())
  })
}
