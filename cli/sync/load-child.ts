/** Loads model files in a child process, one after the other, and reports each before and after loading. */
import { join } from 'node:path'
import { gateOnlyPartsOf, issueOfBusiness } from '../../activities/data/check-sql.ts'
import { issueOfPrepare } from '../../activities/data/prepared-rows.ts'
import { explainLoadError, isThrownBy } from '../../models/define/load-error.ts'
import { loadModelFile, type BrokenModel } from '../../models/index.ts'
import { issueOfColumns } from './check-columns.ts'
import type { DeclaredModel, LoadJob, LoadMessage } from './load-models.ts'

process.once('message', ({ directory, files, isPrinted }: LoadJob) => {
  const send = (message: LoadMessage) =>
    new Promise<void>((resolve) => process.send?.(message, () => resolve()))
  /** Uncaught errors from promises and timers of a file. */
  let uncaught: unknown[] = []
  process.on('uncaughtException', (error) => uncaught.push(error))
  const load = async (file: string): Promise<{ model: DeclaredModel } | { broken: BrokenModel }> => {
    uncaught = []
    const loaded = await loadModelFile(file, directory)
    if ('issues' in loaded) return { broken: loaded }
    await new Promise((resolve) => setImmediate(resolve))
    const path = join(directory, file)
    const own = uncaught.find((error) => !(error instanceof Error) || isThrownBy(error, path))
    if (own !== undefined) return { broken: { file, issues: await explainLoadError(own, path) } }
    const { train: _, print, ...model } = loaded
    const { definition } = model
    const issue =
      (await issueOfPrepare(definition.features)) ??
      (await issueOfColumns(definition)) ??
      (await issueOfBusiness(definition))
    if (issue !== undefined) return { broken: { file, issues: [issue] } }
    const printed = isPrinted ? print() : undefined
    return { model: { ...model, printed, note: await gateOnlyPartsOf(definition) } }
  }
  const loadAll = async () => {
    for (const file of files) {
      await send({ kind: 'loading', file })
      const loaded = await load(file)
      await send('model' in loaded ? { kind: 'loaded', ...loaded } : { kind: 'broken', ...loaded })
    }
    await send({ kind: 'end' })
  }
  void loadAll().finally(() => process.exit(0))
})
process.on('disconnect', () => process.exit(1))
