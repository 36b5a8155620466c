// @ts-check
// Lists the processes to compile, in groups that share code.

import { flatName } from './manifest.mjs'

/**
 * @typedef {object} Group
 * @property {string} name
 * @property {'inside' | 'outside'} packages Whether npm packages are compiled in, which starts a process faster.
 * @property {string[]} [except] Packages that stay outside all the same.
 * @property {string[]} entries Source files, relative to the checkout.
 */

/** @type {readonly Group[]} */
export const groups = [
  {
    name: 'cli',
    packages: 'inside',
    entries: ['cli/tenure.ts', 'cli/simulate/worker.ts', 'cli/sync/load-child.ts'],
  },
  {
    name: 'api',
    packages: 'inside',
    entries: [
      'api/server.ts',
      'api/processes/artifact-reader.ts',
      'api/processes/batch-scorer.ts',
      'api/processes/qualifier.ts',
      'api/processes/simulator.ts',
      'api/processes/skew-replayer.ts',
      'api/serving/tensorflow/tfjs-worker.ts',
    ],
  },
  // The Temporal worker loads native code from its package, and the other packages of Temporal from outside too.
  {
    name: 'workers',
    packages: 'inside',
    except: ['@temporalio/*'],
    entries: ['activities/worker.ts', 'activities/upgrade/check-build.ts'],
  },
  {
    name: 'jobs',
    packages: 'inside',
    entries: [
      'activities/check/check-training.ts',
      'activities/data/outcome-rows-child.ts',
      'activities/retrain/rows-child.ts',
      'activities/tensorflow/trainer.ts',
      'activities/trainers/result-child.ts',
      'activities/artifact/adopter.ts',
      'activities/tensorflow/evaluator.ts',
    ],
  },
  // ONNX Runtime has native code too; its process starts faster without the packages of the workers.
  { name: 'onnx', packages: 'outside', entries: ['api/serving/formats/onnx/session/session-process.ts'] },
]

/** Returns the group of an entry. An entry that no group lists, such as a test's process, forms its own group. @param {string} entry */
export const groupOf = (entry) =>
  groups.find(({ entries }) => entries.includes(entry)) ?? {
    name: flatName(entry),
    packages: /** @type {const} */ ('outside'),
    entries: [entry],
  }
