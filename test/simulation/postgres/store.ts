/** Gives the code under test its `Store` over a connection to the database in memory. */
import { connect as connectTo, type Machine, type Server, type World } from '@tenure/simulator'
import { DomainError, isError } from '../../../domain/errors.ts'
import type { Store } from '../../../store/postgres.ts'
import { createObservedLeases } from '../../../store/serving/observed-leases.ts'

/** How a caller sees a database that does not answer. */
export const unavailability = {
  unavailable: (why: string) => new DomainError('postgres_unavailable', `Postgres did not answer: ${why}`),
  isUnavailable: (error: unknown) => isError(error, 'postgres_unavailable'),
} satisfies Partial<Server>

export function connect(world: World, server: Server, machine: Machine): Store {
  return {
    ...connectTo(world, server, machine),
    scoped(): never {
      throw new Error('the keys of the simulation are of all models')
    },
    leases: createObservedLeases(),
    outage: () => undefined,
    saw: () => {},
    get pool(): never {
      throw new Error('the database in memory has no pool')
    },
    readerUrl: undefined,
    metricSources: undefined,
    close: () => Promise.resolve(),
  }
}
