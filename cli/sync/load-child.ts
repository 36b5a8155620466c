/** Loads model files in a process of their own, one after the other, and reports each before and after. */
import { loadModelFile } from '../../models/index.ts'
import type { LoadJob, LoadMessage } from './load-models.ts'

process.once('message', ({ directory, files }: LoadJob) => {
  const send = (message: LoadMessage) =>
    new Promise<void>((resolve) => process.send?.(message, () => resolve()))
  const loadAll = async () => {
    for (const file of files) {
      await send({ kind: 'loading', file })
      const loaded = await loadModelFile(file, directory)
      if ('issues' in loaded) await send({ kind: 'broken', broken: loaded })
      else {
        const { train: _, ...model } = loaded
        await send({ kind: 'loaded', model })
      }
    }
    await send({ kind: 'end' })
  }
  void loadAll().finally(() => process.exit(0))
})
process.on('disconnect', () => process.exit(1))
