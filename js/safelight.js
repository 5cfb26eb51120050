// The one place where Safelight meets the ComfyUI page.
import { app } from "../../scripts/app.js"
import { createCurveEditor } from "./editor.js"

const FULL = { points: [[0, 1], [1, 1]], interpolation: "linear" }

app.registerExtension({
  name: "Safelight.Nodes",
  getCustomWidgets() {
    return {
      // Asked for by `widgetType`; the input itself stays the host's CURVE, so a core Curve Editor can be linked to it.
      SAFELIGHT_CURVE(node, inputName, inputData) {
        const editor = createCurveEditor(inputData?.[1]?.default ?? FULL, (value) => {
          widget.value = value // through the setter: the page's value store sees it
        })
        const widget = node.addDOMWidget(inputName, "SAFELIGHT_CURVE", editor.element, {
          getValue: editor.getValue,
          setValue: editor.setValue,
          getMinHeight: () => 110
        })
        return { widget, minWidth: 260, minHeight: 120 }
      }
    }
  }
})
