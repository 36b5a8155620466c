/** Defines the response of the explain route: what each feature adds to the mean answer of the background rows. */
/** `tree_shap` and `linear` are exact. */
export type ExplanationMethod = 'tree_shap' | 'linear' | 'sampled'
/** `raw`: the sum before the link function or activation, such as log odds. `answer`: the answered number itself. */
export type ExplanationScale = 'raw' | 'answer'

export interface AttributedFeature {
  feature: string
  value: number | string | null
  attribution: number
  /** Half the width of the 95 % interval; absent for an exact method. */
  error?: number
}

export interface ExplainedPredictions {
  method: ExplanationMethod
  scale: ExplanationScale
  model: string
  version: string
  /** The number of background rows, and whether they came from the request. */
  background: { rows: number; from: 'request' | 'golden rows' }
  explanations: {
    /** The explained class or level; absent when an answer is one number. */
    of?: string | number
    /** The predicted number. */
    answer: number
    base: number
    /** The sum of base and attributions. */
    score: number
    /** The largest first. */
    attributions: AttributedFeature[]
  }[]
}
