/** Reports a finished workflow task of an instrumented worker before the server receives it. */
import { proxySinks, type Sinks, type WorkflowInterceptors } from '@temporalio/workflow'

export interface InstrumentedSinks extends Sinks {
  observer: { worked(): void }
}

const { observer } = proxySinks<InstrumentedSinks>()

export const interceptors = (): WorkflowInterceptors => ({
  internals: [
    {
      activate(input, next) {
        next(input)
        observer.worked()
      },
    },
  ],
})
