"""The nodes, one file for each entry of the menu: they declare their inputs and delegate."""

from safelight.engine import host

from .adavd import SafelightAdaVD
from .casg_guider import SafelightCASGGuider
from .casg_patch import SafelightCASGPatch
from .clip_vision import SafelightCLIPVision
from .concept_vector import SafelightConceptVector
from .concepts import SafelightConcepts
from .context_encode import SafelightContextEncode
from .crg_guider import SafelightCRGGuider
from .crg_patch import SafelightCRGPatch
from .demo_detector import SafelightDemoDetector
from .demo_loader import SafelightDemoLoader
from .detectors import SafelightDetectors
from .easy import SafelightEasy
from .edit_check import SafelightEditCheck
from .encoder_risk import SafelightEncoderRisk
from .erase import SafelightErase
from .growth_inhibitors import SafelightGrowthInhibitors
from .growth_inhibitors_guider import SafelightGrowthInhibitorsGuider
from .guider import SafelightGuider
from .ksampler import SafelightKSampler
from .ksampler_advanced import SafelightKSamplerAdvanced
from .latent_guard import SafelightLatentGuard
from .latent_guard_risk import SafelightLatentGuardRisk
from .load_concept_vector import SafelightLoadConceptVector
from .load_erase import SafelightLoadErase
from .load_latent_guard import SafelightLoadLatentGuard
from .load_redaction import SafelightLoadRedaction
from .look import SafelightLook
from .map import SafelightMap
from .model_patch import SafelightModelPatch
from .model_presence import SafelightModelPresence
from .nudenet import SafelightNudeNet
from .prompt import SafelightPrompt
from .redact import SafelightRedact
from .safe_adapter import SafelightSafeAdapter
from .safe_clip import SafelightSafeCLIP
from .safree_guider import SafelightSAFREEGuider
from .safree_patch import SafelightSAFREEPatch
from .sampler_custom import SafelightSamplerCustom
from .save_edit import SafelightSaveEdit
from .selective import SafelightSelective
from .semantic_surgery import SafelightSemanticSurgery
from .sld_guider import SafelightSLDGuider
from .sld_patch import SafelightSLDPatch
from .strip import SafelightStrip
from .train_erase import SafelightTrainErase
from .trasce_guider import SafelightTraSCEGuider
from .trasce_patch import SafelightTraSCEPatch
from .weight_schedule import SafelightWeightSchedule
from .words import SafelightWords

# Node class and the name in the menu; the class's name is the id in workflows.
_NODES: list[tuple[type, str]] = [
    (SafelightEasy, "Safelight Easy"),
    (SafelightConcepts, "Safelight Concepts"),
    (SafelightPrompt, "Safelight Prompt"),
    (SafelightContextEncode, "Safelight Context Encode"),
    (SafelightEncoderRisk, "Safelight Encoder Risk"),
    (SafelightWeightSchedule, "Safelight Weight Schedule"),
    (SafelightSelective, "Safelight Selective"),
    (SafelightKSampler, "Safelight KSampler"),
    (SafelightKSamplerAdvanced, "Safelight KSampler (Advanced)"),
    (SafelightSamplerCustom, "Safelight Sampler Custom"),
    (SafelightStrip, "Safelight Strip"),
    (SafelightGuider, "Safelight Guider"),
    (SafelightModelPatch, "Safelight Model Patch"),
    (SafelightSLDGuider, "Safelight SLD Guider"),
    (SafelightCASGGuider, "Safelight CASG Guider"),
    (SafelightTraSCEGuider, "Safelight TraSCE Guider"),
    (SafelightCRGGuider, "Safelight CRG Guider"),
    (SafelightSLDPatch, "Safelight SLD Model Patch"),
    (SafelightCASGPatch, "Safelight CASG Model Patch"),
    (SafelightTraSCEPatch, "Safelight TraSCE Model Patch"),
    (SafelightCRGPatch, "Safelight CRG Model Patch"),
    (SafelightSAFREEGuider, "Safelight SAFREE Guider"),
    (SafelightSAFREEPatch, "Safelight SAFREE Model Patch"),
    (SafelightDemoLoader, "Safelight Demo Model"),
    (SafelightMap, "Safelight Map"),
    (SafelightErase, "Safelight Erase"),
    (SafelightLoadErase, "Safelight Load Erase"),
    (SafelightTrainErase, "Safelight Train Erase"),
    (SafelightRedact, "Safelight Redact"),
    (SafelightSafeCLIP, "Safelight Safe-CLIP"),
    (SafelightLoadRedaction, "Safelight Load Redaction"),
    (SafelightSafeAdapter, "Safelight Safe Adapter"),
    (SafelightAdaVD, "Safelight AdaVD"),
    (SafelightGrowthInhibitors, "Safelight Growth Inhibitors (GIE)"),
    (SafelightGrowthInhibitorsGuider, "Safelight Growth Inhibitors Guider (GIE)"),
    (SafelightConceptVector, "Safelight Concept Vector"),
    (SafelightLoadConceptVector, "Safelight Load Concept Vector"),
    (SafelightSaveEdit, "Safelight Save Edit"),
    (SafelightEditCheck, "Safelight Edit Check"),
    (SafelightNudeNet, "Safelight NudeNet"),
    (SafelightCLIPVision, "Safelight CLIP Vision"),
    (SafelightDemoDetector, "Safelight Demo Detector"),
    (SafelightModelPresence, "Safelight Model Presence"),
    (SafelightDetectors, "Safelight Detectors"),
    (SafelightLook, "Safelight Look"),
    (SafelightWords, "Safelight Words"),
    (SafelightSemanticSurgery, "Safelight Semantic Surgery"),
    (SafelightLatentGuard, "Safelight Latent Guard"),
    (SafelightLoadLatentGuard, "Safelight Load Latent Guard"),
    (SafelightLatentGuardRisk, "Safelight Latent Guard Risk"),
]
# Model patches need the host's wrappers.
_PRESENT = [(node, shown) for node, shown in _NODES if host.HAS_WRAPPERS or not node.__name__.endswith("Patch")]

NODE_CLASS_MAPPINGS = {node.__name__: node for node, _ in _PRESENT}
NODE_DISPLAY_NAME_MAPPINGS = {node.__name__: shown for node, shown in _PRESENT}
