/** Has a worker load the files of a model that a person has approved, before they are applied. Returns what speaks against them. */
import { proxyActivities } from '@temporalio/workflow'
import type { ControlActivities } from '../activities/activities.ts'
import { field, parseInput } from './input/parse-input.ts'

export interface LoadFilesRequest {
  model: string
}

const { loadFiles: load } = proxyActivities<Pick<ControlActivities, 'loadFiles'>>({
  startToCloseTimeout: '135 s',
  heartbeatTimeout: '30 s',
  retry: { initialInterval: '1 s', maximumAttempts: 2 },
})

export async function loadFiles(given: LoadFilesRequest): Promise<{ issue?: string }> {
  return load(parseInput<LoadFilesRequest>(given, { model: field.name }))
}
