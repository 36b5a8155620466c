/** Inserts a proven first champion without a release, for tests that need hundreds of models. */
import { markKnownGood, moveChampion } from '../../../store/registry/champions.ts'
import type { Store } from '../../../store/postgres.ts'
import { writeRoute } from '../../../store/serving/routing.ts'

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
