/** Inserts proven champions without a release, for tests that need hundreds of models. */
import { markKnownGood, moveChampion } from '../../../store/registry/champions.ts'
import type { Store } from '../../../store/postgres.ts'
import { findRouting, writeRoute } from '../../../store/serving/routing.ts'

export async function seatChampion(store: Store, model: string, version: string): Promise<void> {
  await store.transaction(async (database) => {
    await moveChampion(database, { model, to: version, cause: 'promotion', actor: 'test', reason: 'first' })
    await markKnownGood(database, version)
    await writeRoute(database, {
      route: {
        model,
        salt: model,
        arms: [{ arm: 'champion', version, shareBp: 10_000 }],
        proven: version,
      },
      replaces: { epoch: 1, generation: 0 },
    })
  })
}

/** Inserts two proven versions of which the second serves, as if it had been promoted without a release. */
export async function seatSecond(
  store: Store,
  { model, first, second }: { model: string; first: string; second: string },
): Promise<void> {
  await seatChampion(store, model, first)
  await promote(store, { model, first, second })
}

/** Makes the second version a proven champion after the first, without a release. */
export async function promote(
  store: Store,
  { model, first, second }: { model: string; first: string; second: string },
): Promise<void> {
  const promotion = { model, cause: 'promotion', actor: 'test', reason: 'new' } as const
  await moveChampion(store, { ...promotion, from: first, to: second })
  await markKnownGood(store, second)
  const replaces = (await findRouting(store, model))!.route
  const arms = [{ arm: 'champion' as const, version: second, shareBp: 10_000 }]
  const route = { model, salt: model, arms, proven: second, standby: first }
  await store.transaction((database) => writeRoute(database, { route, replaces }))
}
