/** Tests that failures reach workflow histories by their code and without secrets, and that failures of an outage use up no attempt. */
import { ApplicationFailure } from '@temporalio/activity'
import { MockActivityEnvironment } from '@temporalio/testing'
import { mkdtemp, rename, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { reportingFailures } from '../../../activities/runtime/failures.ts'
import { DomainError } from '../../../domain/errors.ts'
import { expectMarker, markFolder } from '../../../store/artifact-marker.ts'

const address = 'postgres://tenure:hunter2@127.0.0.1/tenure'
const deps = { config: { artifactRoot: '/nowhere' }, log: { warn: () => {} } }
const failing = async (error: Error): Promise<unknown> => {
  const { work } = reportingFailures(deps, { work: () => Promise.reject(error) })
  return work().catch((thrown: unknown) => thrown)
}

it.each([
  [
    'of the domain',
    new DomainError('training_failed', `not at ${address}`, { address, remedy: `Ask ${address}.` }),
  ],
  ['of a row that is not there', Object.assign(new Error(`no ${address}`), { code: '23503' })],
  ['that is no domain error', new Error(`with ${address}`)],
  ['with a cause', new Error('fetch failed', { cause: new Error(`of ${address}`) })],
])('a failure %s contains no password', async (_, error) => {
  const thrown = (await failing(error)) as Error
  const { message, stack, cause } = thrown
  const details = thrown instanceof ApplicationFailure ? thrown.details : []
  const said = [message, stack, String(cause), JSON.stringify(details)].join('\n')
  expect(said).not.toContain('hunter2')
  expect(said).toContain('postgres://tenure:[redacted]@127.0.0.1/tenure')
})

describe('an activity with limited attempts', () => {
  const run = async (error: Error, maximumAttempts: number): Promise<{ result: unknown; tries: number }> => {
    let tries = 0
    const work = () => (++tries < 3 ? Promise.reject(error) : Promise.resolve('done'))
    const environment = new MockActivityEnvironment({ retryPolicy: { maximumAttempts } })
    const result = environment.run(reportingFailures(deps, { work }).work).catch((thrown: unknown) => thrown)
    return { result: await result, tries }
  }
  const noRoom = Object.assign(new Error('ENOSPC: write'), { code: 'ENOSPC' })

  it.each([
    ['Postgres', new DomainError('postgres_unavailable', 'starting up')],
    ['Temporal', new DomainError('temporal_unavailable', 'no answer')],
    ['room on a disk', noRoom],
    ['room that DuckDB misses', new Error('IO Error: Could not write: No space left on device')],
  ])('waits within its attempt for %s', async (_, error) => {
    expect(await run(error, 5)).toEqual({ result: 'done', tries: 3 })
  })

  it.each(['artifact_corrupt', 'training_failed'] as const)(
    'waits for an unmounted folder of artifacts, which a child process reports as %s',
    async (code) => {
      const root = await mkdtemp(join(tmpdir(), 'tenure-unmounted-'))
      await markFolder(root)
      expectMarker(root)
      await rename(root, `${root}.away`)
      let tries = 0
      const work = async () => {
        if (++tries === 3) await rename(`${root}.away`, root)
        if (tries < 4) throw new DomainError(code, 'sha256:1 cannot be used: no such file')
        return 'done'
      }
      const environment = new MockActivityEnvironment({ retryPolicy: { maximumAttempts: 5 } })
      const thrown: unknown = await environment
        .run(reportingFailures({ ...deps, config: { artifactRoot: root } }, { work }).work)
        .catch((error: unknown) => error)
      // The folder is back when the third try fails, which is then a failure of its own.
      expect({ type: (thrown as ApplicationFailure).type, tries }).toEqual({ type: code, tries: 3 })
      await rm(root, { recursive: true })
    },
  )

  it('fails its attempt for a reason of its own', async () => {
    expect(await run(new DomainError('training_interrupted', 'killed'), 5)).toMatchObject({ tries: 1 })
  })

  it('leaves the wait to Temporal when its attempts are not limited', async () => {
    expect(await run(noRoom, 0)).toMatchObject({ result: { type: 'no_room', nonRetryable: false }, tries: 1 })
  })
})
