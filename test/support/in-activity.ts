/** Runs work that asks for the context of an activity. */
import { MockActivityEnvironment } from '@temporalio/testing'

const logger = { log() {}, trace() {}, debug() {}, info() {}, warn() {}, error() {} }

export const inActivity = <T>(work: () => Promise<T>): Promise<T> =>
  new MockActivityEnvironment({}, { logger }).run<[], T, () => Promise<T>>(work)
