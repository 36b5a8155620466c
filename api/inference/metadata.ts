/** Describes a model in the format of the Open Inference Protocol. */
import { outputNames } from '@tenure/predictors/features'
import { unavailableReason, pinnedArm } from '../serving/request/choose-arm.ts'
import type { Serving } from '../serving/replica-assembly.ts'
import type { LiveArm } from '../serving/routing/route-table.ts'
import { outputTensors } from './output-tensors.ts'

/**
 * Returns the arm of the version. Without a version, returns the champion's arm, or the candidate's when it has all traffic. Throws the
 * reason when no arm serves.
 */
export function findArm({ routing, now }: Serving, model: string, version: string | undefined): LiveArm {
  const live = routing.find(model)
  if (live === undefined) throw unavailableReason(routing, model)
  const table = routing.tableOf(live, now())
  if (version !== undefined) return pinnedArm(table, live, version)
  return [...table.pinned.values()].find(({ arm }) => arm === 'champion') ?? table.likeliest
}

export function metadataOf(serving: Serving, model: string, version: string | undefined) {
  const { loaded } = findArm(serving, model, version)
  const { pinned } = serving.routing.tableOf(serving.routing.find(model)!, serving.now())
  const { listed: all, numeric } = loaded.columns
  const { output } = loaded.manifest
  const tensors = outputTensors(output)
  const names = outputNames(output).join(', ')
  return {
    name: model,
    versions: [...pinned.keys()],
    platform: loaded.manifest.format,
    inputs: all.map((column) => {
      const { name, kind } = column
      if (kind === 'number') return { name, datatype: 'FP32', shape: [-1] }
      return column.numbers > 0
        ? { name, datatype: 'FP32', shape: [-1, column.numbers] }
        : { name, datatype: 'BYTES', shape: [-1] }
    }),
    outputs: tensors.map(({ name, datatype, shape }) => ({
      name,
      datatype,
      shape: [-1, ...shape],
    })),
    parameters: {
      ...(numeric && { matrix: `[-1, ${all.length}] with the inputs as columns, in this order` }),
      ...(names !== '' && { [tensors[0]!.name]: `${names}, in this order` }),
    },
  }
}
