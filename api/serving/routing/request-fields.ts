/**
 * Holds which fields requests of each model may carry beside the features of the version that answers: those of the model file and of other
 * versions. So callers can send a new feature before its version serves, and an old one after.
 */
import type { Features } from '../../../domain/model/features.ts'
import type { Database } from '../../../store/postgres.ts'
import { readRequestFields } from '../../../store/registry/request-fields.ts'

export type RequestFields = ReturnType<typeof createRequestFields>

export function createRequestFields() {
  const byModel = new Map<string, Set<string>>()
  let digest = ''
  const add = (model: string, names: Iterable<string>): void => {
    const known = byModel.get(model) ?? new Set()
    for (const name of names) known.add(name)
    byModel.set(model, known)
  }
  return {
    of: (model: string): readonly string[] => [...(byModel.get(model) ?? [])],
    count: (model: string): number => byModel.get(model)?.size ?? 0,
    isKnown: (model: string, field: string): boolean => byModel.get(model)?.has(field) === true,
    /** Adds the features of a version, which may be newer than the last reading. */
    addFeatures: (model: string, features: Features): void =>
      add(
        model,
        Object.entries(features).flatMap(([name, { from }]) => [name, ...(from?.by ?? [])]),
      ),
    /** Reads the fields from the database when a model file has been stored since. */
    async read(database: Database): Promise<void> {
      const found = await readRequestFields(database, digest)
      for (const [model, names] of Object.entries(found.fields ?? {})) add(model, names)
      digest = found.digest
    },
    remembered: (): Record<string, string[]> =>
      Object.fromEntries([...byModel].map(([model, names]) => [model, [...names]])),
    recall(remembered: Record<string, string[]> = {}): void {
      for (const [model, names] of Object.entries(remembered)) add(model, names)
    },
  }
}
