/** Bundled with the workflows of a told worker: says when a workflow task has been worked off, before the server hears of it. */
import { proxySinks, type Sinks, type WorkflowInterceptors } from '@temporalio/workflow'

export interface InstrumentedSinks extends Sinks {
  told: { worked(): void }
}

const { told } = proxySinks<InstrumentedSinks>()

export const interceptors = (): WorkflowInterceptors => ({
  internals: [
    {
      activate(input, next) {
        next(input)
        told.worked()
      },
    },
  ],
})
