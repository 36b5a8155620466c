/** Failures reach workflow histories by their code and without secrets. */
import { ApplicationFailure } from '@temporalio/activity'
import { expect, it } from 'vitest'
import { reportingFailures } from '../../../activities/runtime/failures.ts'
import { DomainError } from '../../../domain/errors.ts'

const address = 'postgres://tenure:hunter2@127.0.0.1/tenure'
const failing = async (error: Error): Promise<unknown> => {
  const { work } = reportingFailures({ work: () => Promise.reject(error) })
  return work().catch((thrown: unknown) => thrown)
}

it.each([
  ['of the domain', new DomainError('training_failed', `not at ${address}`, { address })],
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
