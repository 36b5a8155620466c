/** Finds from when on the values of feature views are kept. */
import type { ModelDefinition } from '../../domain/model-definition.ts'
import type { KeptValues } from '../../domain/validation/expectations.ts'
import type { Database } from '../../store/postgres.ts'
import { countValues, findView, type StoredView } from '../../store/features/feature-views.ts'

/** Counts from the newest event: the values of a history that has ended are still needed by trainings as of that time. */
export async function findKeptSince(
  store: Database,
  { id, definition: { keepMs } }: Pick<StoredView, 'id' | 'definition'>,
): Promise<number | undefined> {
  const { newest } = await countValues(store, id)
  return newest === undefined ? undefined : Date.parse(newest) - keepMs
}

/** The views that the training rows of a model are joined to. Rows of answered requests have the values that those had. */
export async function listKept(
  store: Database,
  { source, views = [] }: ModelDefinition,
): Promise<KeptValues[]> {
  const kept: KeptValues[] = []
  for (const { digest } of source.served === undefined ? views : []) {
    const view = await findView(store, digest)
    const sinceMs = view && (await findKeptSince(store, view))
    if (sinceMs !== undefined) kept.push({ view: view!.name, keepMs: view!.definition.keepMs, sinceMs })
  }
  return kept
}
