/**
 * Puts a planted bug in the place of a line of the sources while they are loaded, for the fault simulator. The files
 * themselves are never touched. Registered before tsx, so that it sees TypeScript.
 */
import { readFile } from 'node:fs/promises'
import { register } from 'node:module'
import { fileURLToPath } from 'node:url'
import { isMainThread } from 'node:worker_threads'

const planted = process.env['TENURE_PLANT']
if (isMainThread && planted) register(import.meta.url, { data: JSON.parse(planted) })

let plant

export function initialize(data) {
  plant = data
}

export async function load(url, context, nextLoad) {
  if (plant === undefined || !url.split('?')[0].endsWith(plant.file)) return nextLoad(url, context)
  const text = await readFile(fileURLToPath(url.split('?')[0]), 'utf8')
  return { format: 'module', source: text.replace(plant.find, () => plant.replace), shortCircuit: true }
}
