// Detect with OpenVINO alone: ./detect xs.xml photo.ppm, a binary PPM.
#include <cstdio>
#include <fstream>
#include <string>
#include <vector>

#include <openvino/openvino.hpp>

// The texts of a JSON list without escapes.
static std::vector<std::string> texts(const std::string& json) {
    std::vector<std::string> found;
    for (size_t at = json.find('"'); at != std::string::npos; at = json.find('"', at)) {
        const size_t end = json.find('"', at + 1);
        found.push_back(json.substr(at + 1, end - at - 1));
        at = end + 1;
    }
    return found;
}

int main(int, char** argv) {
    std::ifstream file(argv[2], std::ios::binary);
    std::string magic;
    size_t width = 0, height = 0, levels = 0;
    file >> magic >> width >> height >> levels;
    file.get();
    std::vector<unsigned char> pixels(width * height * 3);
    file.read(reinterpret_cast<char*>(pixels.data()), static_cast<std::streamsize>(pixels.size()));

    ov::Core core;
    auto model = core.read_model(argv[1]);
    const auto classes = texts(model->get_rt_info<std::string>("lcnet_vision", "classes"));
    auto compiled = core.compile_model(model, "CPU", ov::hint::inference_precision(ov::element::f32));
    auto request = compiled.create_infer_request();
    request.set_input_tensor(ov::Tensor(ov::element::u8, {height, width, 3}, pixels.data()));
    request.infer();

    const auto boxes = request.get_tensor("boxes"), scores = request.get_tensor("scores");
    const auto labels = request.get_tensor("labels");
    for (size_t i = 0; i < scores.get_size(); ++i) {
        const float* box = boxes.data<float>() + 4 * i;
        if (scores.data<float>()[i] >= 0.4f)
            std::printf("%s %.3f %.1f %.1f %.1f %.1f\n", classes[labels.data<int64_t>()[i]].c_str(),
                        scores.data<float>()[i], box[0], box[1], box[2], box[3]);
    }
}
